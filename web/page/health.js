/** The badge: how the connection and the streams are, at one glance; a click shows each stream. */

import { duration } from "./number.js";
import { channelName, health, STATES } from "./words.js";

const DELAYS = 15; // of the newest frames, of which the middle one is shown

/** @typedef {import("../client.d.ts").Gateway} Gateway @typedef {import("../client.d.ts").Subscription<any>} Subscription */

export class Health {
  /** @type {Subscription[]} */
  #streams = [];
  /** @type {number[]} */
  #delays = [];
  /** @type {Map<string, string>} the gateway's own reason, by channel */
  #reasons = new Map();

  /** @param {HTMLElement} badge @param {HTMLElement} details @param {Gateway} gateway */
  constructor(badge, details, gateway) {
    const part = (/** @type {HTMLElement} */ root, /** @type {string} */ name) =>
      /** @type {HTMLElement} */ (root.querySelector(`[data-part=${name}]`));
    this.badge = badge;
    this.details = details;
    this.gateway = gateway;
    this.parts = {
      word: part(badge, "word"),
      age: part(badge, "age"),
      latency: part(badge, "latency"),
      facts: part(details, "facts"),
      streams: part(details, "streams"),
    };
    setInterval(() => this.show(), 250);
  }

  /** @param {Subscription[]} streams */
  watch(streams) {
    this.#streams = streams;
    this.#delays = [];
    this.#reasons.clear();
    this.show();
  }

  /** @param {{ channel: string, state: string, reason?: string }} frame */
  told({ channel, state, reason }) {
    this.#reasons.set(channel, state === "live" ? "" : (reason ?? ""));
  }

  /** A frame is on the screen: how long it was on its way. @param {{ ts: { ex: number | null } }} update */
  seen({ ts }) {
    if (ts.ex === null) return;
    this.#delays.push(Date.now() + (this.gateway.clockOffset ?? 0) - ts.ex);
    if (this.#delays.length > DELAYS) this.#delays.shift();
  }

  /** Milliseconds from the exchange to the screen; null: no exchange said when. */
  get delay() {
    return this.#delays.toSorted((a, b) => a - b)[this.#delays.length >> 1] ?? null;
  }

  show() {
    const { gateway } = this;
    const { level, word } = health(gateway.status, this.#streams.map((one) => one.state));
    const newest = Math.max(...this.#streams.map((one) => one.lastMessageAt ?? 0));
    if (this.badge.dataset.level !== level) this.badge.dataset.level = level;
    write(this.parts.word, word);
    write(this.parts.age, newest > 0 ? duration(Math.max(1000, Date.now() - newest)).replace(/^1\.0 s$/, "< 1 s") : "–");
    write(this.parts.latency, gateway.latency === null ? "–" : duration(gateway.latency));
    if (this.details.matches(":popover-open")) this.#detail();
  }

  #detail() {
    const { gateway } = this;
    const facts = [
      ["Connection", gateway.status],
      ["Gateway", `${gateway.hello?.server ?? "–"} · ${gateway.hello?.node ?? "–"}`],
      ["Round trip", gateway.latency === null ? "–" : duration(gateway.latency)],
      ["Exchange to screen", this.delay === null ? "–" : duration(this.delay)],
      ["Last message", gateway.lastMessageAt === null ? "–" : `${duration(Date.now() - gateway.lastMessageAt)} ago`],
      ["Reconnects", String(gateway.reconnects)],
    ];
    this.parts.facts.replaceChildren(...facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
    this.parts.streams.replaceChildren(...this.#streams.map((one) => this.#row(one)));
  }

  /** @param {Subscription} stream */
  #row(stream) {
    const row = document.createElement("tr");
    const head = element("th", channelName(stream.channel));
    head.setAttribute("scope", "row");
    const why = this.#reasons.get(stream.channel) || STATES[/** @type {keyof typeof STATES} */ (stream.state)] || "";
    const age = stream.lastMessageAt === null ? "–" : duration(Date.now() - stream.lastMessageAt);
    const state = element("td", stream.state);
    state.dataset.state = stream.state;
    row.append(head, state, element("td", why), element("td", age), element("td", stream.cursor ?? "–"));
    return row;
  }
}

/** @param {string} name @param {string} text */
function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

/** @param {HTMLElement} target @param {string} text */
function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
