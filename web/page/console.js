/** The page at `/console`: commands as they are typed, frames as they come, and whether each stream keeps its promises. */

import { Chain } from "./chain.js";
import { completions, curl, TEMPLATES, websocat } from "./commands.js";
import { Frames } from "./frames.js";
import { size } from "./number.js";
import "./theme.js";

const HISTORY = 50;
const KEY = "market-gateway.console";
const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

const url = new URL("/v1/ws", location.href.replace(/^http/, "ws")).href;
const frames = new Frames($("frames"), $("count"));
/** @type {Map<string, { chain: Chain, channel: string, name: string }>} by channel and topic */
const topics = new Map();
/** @type {string[]} oldest first */
const history = remembered();
let at = history.length; // where in it we are
/** @type {WebSocket | null} */
let socket = null;
const counted = { frames: 0, bytes: 0, before: 0, bytesBefore: 0 };

// -- the connection ---------------------------------------------------------------------------------------------------

function open() {
  socket = new WebSocket(url);
  state("Connecting", "wait");
  socket.onopen = () => {
    state("Connected", "good");
    if ($("greet").checked) send({ op: "hello", client: "market-gateway-console" });
  };
  socket.onmessage = ({ data }) => received(data);
  socket.onclose = ({ code, reason }) => {
    socket = null;
    topics.clear();
    drawTopics();
    state("Not connected", "bad");
    frames.put("state", `closed with ${code}${reason ? `: ${reason}` : ""}`);
  };
}

/** @param {string} text */
function received(text) {
  counted.frames += 1;
  counted.bytes += text.length;
  const frame = JSON.parse(text);
  frames.put("in", text, checked(frame));
}

/** What is wrong with it; empty: nothing. @param {any} frame */
function checked(frame) {
  if (!frame.topic) return "";
  const key = `${frame.channel} ${JSON.stringify(frame.topic)}`;
  if (frame.type === "unsubscribed") topics.delete(key);
  if (frame.type === "subscribed") topics.set(key, { chain: new Chain(), channel: frame.channel, name: named(frame) });
  const topic = topics.get(key);
  if (!topic || (frame.type !== "gap" && frame.type !== frame.channel)) return "";
  const faultBefore = topic.chain.verdict.fault;
  const { fault } = topic.chain.take(frame);
  return fault === faultBefore ? "" : `broken: ${fault}`;
}

/** @param {any} frame */
function named({ topic: { exchange, symbol, params } }) {
  const rest = Object.entries(params).map(([name, value]) => `${name} ${value}`);
  return [exchange, symbol, ...rest].join(" · ");
}

// -- commands ---------------------------------------------------------------------------------------------------------

/** @param {object} command */
function send(command) {
  const text = JSON.stringify(command);
  socket?.send(text);
  frames.put("out", text);
}

function submit() {
  const command = typed();
  if (!command) return;
  if (!socket || socket.readyState !== WebSocket.OPEN) {
    say("Not connected: connect first.");
    return;
  }
  const text = $("command").value.trim();
  if (history.at(-1) !== text) history.push(text);
  if (history.length > HISTORY) history.shift();
  at = history.length;
  try {
    localStorage.setItem(KEY, JSON.stringify(history));
  } catch {
    // Storage is off: the history ends with the page.
  }
  send(command.op === "ping" && "t" in command ? { ...command, t: Date.now() } : command);
}

/** What is in the editor, or null with the reason said. @returns {any} */
function typed() {
  try {
    const command = JSON.parse($("command").value);
    if (typeof command !== "object" || command === null || Array.isArray(command)) throw new Error("a command is a JSON object");
    say("");
    return command;
  } catch (error) {
    say(`Not a command yet: ${error instanceof Error ? error.message : error}`);
    return null;
  }
}

/** @param {number} step */
function recall(step) {
  const next = at + step;
  if (next < 0 || next > history.length) return;
  at = next;
  write(history[at] ?? "");
}

/** @param {string} text */
function write(text) {
  $("command").value = text;
  equivalents();
}

function equivalents() {
  const command = typed();
  $("curl").textContent = (command && curl(command, location.origin)) || (command ? "# REST has no such thing" : "");
  $("websocat").textContent = command ? websocat(command, url) : "";
  const { value, selectionStart, selectionEnd } = $("command");
  const offers = selectionStart === selectionEnd ? completions(value.slice(0, selectionStart)) : [];
  $("completion").textContent = offers.length ? `Tab: …${offers.join(" · …")}` : "";
}

/** @param {KeyboardEvent} event */
function key(event) {
  const editor = $("command");
  const { value, selectionStart: caret } = editor;
  if (event.key === "Enter" && !event.shiftKey) submit();
  else if (event.key === "ArrowUp" && !value.slice(0, caret).includes("\n")) recall(-1);
  else if (event.key === "ArrowDown" && !value.slice(caret).includes("\n")) recall(1);
  else if (event.key === "Tab" && !event.shiftKey && completions(value.slice(0, caret)).length) {
    editor.setRangeText(completions(value.slice(0, caret))[0], caret, caret, "end");
    equivalents();
  } else return;
  event.preventDefault();
}

/** @param {string} text */
function say(text) {
  $("problem").textContent = text;
}

// -- what is shown ----------------------------------------------------------------------------------------------------

/** @param {string} word @param {string} level */
function state(word, level) {
  $("state").textContent = word;
  $("connection").dataset.level = level;
  $("connect").textContent = socket ? "Disconnect" : "Connect";
}

function drawTopics() {
  const rows = [...topics.values()].map(({ chain: { verdict }, channel, name }) => {
    const row = document.createElement("tr");
    const mark = cell("td", verdict.ok ? "✓ whole" : "✗ broken");
    mark.dataset.state = verdict.ok ? "live" : "failed";
    mark.title = verdict.fault || "seq rises as promised, changes extend what was sent, checksums agree";
    const head = cell("th", channel);
    head.setAttribute("scope", "row");
    head.append(cell("small", name), cell("small", verdict.cursor));
    row.append(mark, head, ...[verdict.frames, verdict.gaps, verdict.checksums].map((one) => cell("td", String(one))));
    return row;
  });
  $("topics").replaceChildren(...rows);
  $("no-topics").hidden = rows.length > 0;
}

/** @param {string} name @param {string} text */
function cell(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

setInterval(() => {
  const { frames: all, bytes, before, bytesBefore } = counted;
  $("rate").textContent = `${all - before} frames/s · ${size(bytes - bytesBefore)}/s · ${size(bytes)} in all`;
  counted.before = all;
  counted.bytesBefore = bytes;
  drawTopics();
}, 1_000);

/** @returns {string[]} */
function remembered() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}

/** @param {string} id */
async function copy(id) {
  try {
    await navigator.clipboard.writeText($(id).textContent); // not there where the page came by plain http from afar
    say("Copied.");
  } catch {
    getSelection()?.selectAllChildren($(id));
    say("This browser does not let the page copy; the text is selected.");
  }
}

$("templates").replaceChildren(...TEMPLATES.map(({ name }, number) => new Option(name, String(number))));
$("templates").addEventListener("change", (/** @type {any} */ event) => {
  write(JSON.stringify(TEMPLATES[Number(event.target.value)].command));
  $("command").focus();
});
$("command").addEventListener("keydown", key);
$("command").addEventListener("input", equivalents);
$("command").addEventListener("click", equivalents);
$("send").addEventListener("click", submit);
$("connect").addEventListener("click", () => (socket ? socket.close() : open()));
$("filter").addEventListener("input", (/** @type {any} */ event) => frames.filter(event.target.value));
$("halt").addEventListener("click", () => {
  frames.halt(!frames.halted);
  $("halt").setAttribute("aria-pressed", String(frames.halted));
});
$("clear").addEventListener("click", () => frames.clear());
for (const id of ["curl", "websocat"]) $(`copy-${id}`).addEventListener("click", () => copy(id));

write(JSON.stringify(TEMPLATES[0].command));
open();
