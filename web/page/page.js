/** The page at `/`: what there is, put together. What is shown is in the address; everything else follows from it. */

import { connect } from "../client.js";
import { LEVELS, read, same, TIMEFRAMES, write } from "./address.js";
import { favourite, find } from "./catalogue.js";
import { Chart } from "./chart.js";
import { Events } from "./events.js";
import { Health } from "./health.js";
import { keyboard } from "./keyboard.js";
import { Ladder } from "./ladder.js";
import { Line } from "./line.js";
import { MarketPicker } from "./market.js";
import { digitsAmong, digitsOf, duration, fixed } from "./number.js";
import { Tape } from "./tape.js";
import { toggleTheme } from "./theme.js";
import { WhatIf } from "./whatif.js";
import { connectionSentence, gapSentence, laggedSentence, stateSentences } from "./words.js";

/** @typedef {import("./address.js").View} View @typedef {import("./catalogue.js").Market} Market */

const TRADES_BEFORE = 60;
const CANDLES_BEFORE = 1_000;
const ASK_AGAIN = 2_000; // milliseconds
const MOMENT = 60; // likewise

const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

const gateway = connect(new URL("/v1/ws", location.href), { client: "market-gateway-page", WebSocket: Line });
const events = new Events($("events"), $("no-events"), $("toasts"));
const chart = new Chart($("chart"), $("legend"), $("no-chart"));
const ladder = new Ladder($("ladder"));
const tape = new Tape($("tape"), $("no-trades"));
const health = new Health($("badge"), $("health"), gateway);
const picker = new MarketPicker($("search"), $("markets"), (market) => go({ ...view, symbol: market.symbol }));

/** @type {View} */
let view = read(location.search);
/** @type {Market | undefined} */
let market;
/** @type {import("../client.d.ts").Subscription<any>[]} */
let streams = [];
/** @type {any} */
let capabilities = null;
/** @type {Map<string, Promise<Market[]>>} by exchange */
const catalogues = new Map();
const digits = { price: 2, amount: 3 };
let turn = 0; // rises with each view, so that an answer that comes too late is known
let lastPrice = 0;
let retryAt = 0;

// -- from the address to what is shown --------------------------------------------------------------------------------

/** Show something else, and have it in the history. @param {View} wanted */
function go(wanted) {
  if (same(wanted, view)) return;
  history.pushState(null, "", write(wanted));
  show(wanted);
}

/** @param {View} wanted */
async function show(wanted) {
  const mine = ++turn;
  leave();
  view = wanted;
  capabilities ??= await ask("capabilities");
  if (mine !== turn) return;
  const offered = capabilities.exchanges.map((/** @type {any} */ one) => one.exchange);
  view.exchange ||= offered[0];
  options($("exchange"), offered, view.exchange);
  if (!offered.includes(view.exchange)) {
    refuse(`This gateway does not offer ${view.exchange}.`, offered, (exchange) => go({ ...view, exchange, symbol: "" }));
    return;
  }
  picker.offer([]);
  picker.show(view.symbol);
  const markets = await catalogue(view.exchange);
  if (mine !== turn) return;
  picker.offer(markets);
  market = view.symbol ? find(markets, view.symbol) : favourite(markets);
  if (market) view.symbol = market.symbol;
  const { orderbook, ohlcv } = capabilities.exchanges[offered.indexOf(view.exchange)].channels;
  const depths = LEVELS.filter((levels) => orderbook.levels.includes(levels));
  if (!depths.includes(view.levels)) view.levels = depths.at(-1) ?? 20;
  options($("levels"), depths.map(String), String(view.levels));
  timeframes(TIMEFRAMES.filter((one) => ohlcv.timeframes.includes(one)));
  history.replaceState(null, "", write(view));
  enter();
}

function enter() {
  const { exchange, symbol, timeframe, levels } = view;
  picker.show(symbol);
  $("symbol").textContent = symbol;
  $("type").textContent = market ? `${exchange} · ${market.type}` : exchange;
  digits.price = market?.tickSize ? digitsOf(market.tickSize) : 2;
  digits.amount = market?.minOrderSize ? digitsOf(market.minOrderSize) : 3;
  lastPrice = 0;
  price(null);
  document.title = `${symbol} · market-gateway`;
  ladder.begin(digits, levels);
  tape.begin(digits);
  chart.begin({ about: `${symbol} on ${exchange}, ${timeframe}`, digits: digits.price, older });
  let digitsKnown = false;
  const topic = { exchange, symbol };
  const how = /** @type {const} */ ({ coalesce: "frame" });
  streams = [
    gateway.candles({ ...topic, params: { timeframe } }, (series, update) => {
      chart.take(series, update.changed);
      if (!lastPrice) price({ price: series.at(-1)?.close ?? 0, side: "" });
      health.seen(update);
      notices();
    }, { ...how, rewind: CANDLES_BEFORE }),
    gateway.orderBook({ ...topic, params: { levels } }, (book, update) => {
      if (!digitsKnown) settle(book);
      digitsKnown = true;
      ladder.take(book);
      health.seen(update);
      notices();
    }, how),
    gateway.trades(topic, (trades, update) => {
      tape.take(trades);
      price(trades[trades.length - 1]);
      health.seen(update);
      notices();
    }, { ...how, rewind: TRADES_BEFORE }),
  ];
  for (const stream of streams) {
    stream.on("state", notices);
    stream.on("error", (error) => refused(stream, error));
    if (stream.channel === "trades") stream.on("gap", (gap) => tape.gap(gap));
  }
  health.watch(streams);
  notices();
}

function leave() {
  for (const stream of streams.splice(0)) stream.unsubscribe();
  market = undefined;
  $("refusal").hidden = true;
  health.watch([]);
}

/** Venues without a tick show their digits in their books. @param {import("../client.d.ts").OrderBook} book */
function settle(book) {
  const levels = [...book.bids, ...book.asks];
  if (!market?.tickSize) digits.price = digitsAmong(levels.map(([price]) => price));
  digits.amount = Math.max(digits.amount, digitsAmong(levels.map(([, amount]) => amount)));
}

/** Candles before those the client has. @param {number} until */
async function older(until) {
  const { exchange, symbol, timeframe } = view;
  const { data } = await gateway.fetch("fetchOHLCV", { exchange, symbol, timeframe, limit: 500, params: { until } });
  return data.map((/** @type {number[]} */ [timestamp, open, high, low, close, volume]) => (
    { timestamp, open, high, low, close, volume, closed: true, complete: true }
  ));
}

// -- what the gateway is asked ----------------------------------------------------------------------------------------

/** An answer, however long it takes; meanwhile the page says why there is none. @param {string} method @param {object} [body] */
async function ask(method, body) {
  for (;;) {
    try {
      const { data } = await gateway.fetch(method, body);
      retryAt = 0;
      notices();
      return data;
    } catch (error) {
      if (error instanceof Error && "retryable" in error && !error.retryable) throw error;
      retryAt = Date.now() + ASK_AGAIN;
      notices();
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN));
    }
  }
}

/** @param {string} exchange @returns {Promise<Market[]>} */
function catalogue(exchange) {
  let found = catalogues.get(exchange);
  if (!found) {
    found = ask("fetchMarkets", { exchange }).then((data) => data.markets);
    found.catch(() => catalogues.delete(exchange));
    catalogues.set(exchange, found);
  }
  return found;
}

// -- what is said -----------------------------------------------------------------------------------------------------

/** @param {{ price: number, side: string } | null} trade */
function price(trade) {
  const element = $("price");
  const text = trade?.price ? fixed(trade.price, digits.price) : "–";
  if (element.textContent !== text) element.textContent = text;
  element.dataset.side = trade?.side ?? "";
  if (!trade?.price) return;
  lastPrice = trade.price;
  if (trade.side) ladder.traded(trade);
}

setInterval(() => {
  if (lastPrice && market) document.title = `${fixed(lastPrice, digits.price)} ${market.symbol} · market-gateway`;
  notices();
}, 1_000);

const WAITING = {
  connecting: "Waiting for the exchange…",
  offline: "No connection to the gateway; this is the last that came.",
  reconnecting: "The gateway lost the exchange and is connecting again; this is the last that came.",
  unavailable: "The exchange told the gateway to stay away; this is the last that came.",
  resyncing: "Being proven afresh…",
  stale: "Late: what is shown may be old.",
  failed: "Refused.",
};

function notices() {
  const down = gateway.status === "reconnecting" || retryAt > Date.now();
  const wait = retryAt > Date.now() ? `, asking again in ${duration(Math.ceil((retryAt - Date.now()) / 1000) * 1000)}` : "";
  const banner = gateway.status === "closed" ? "The connection is closed for good: load the page again." : down ? `Cannot reach the gateway at ${location.host}${wait}; trying until it answers.` : "";
  say($("banner"), banner);
  for (const stream of streams) {
    const element = $(`${stream.channel}-notice`);
    const words = WAITING[/** @type {keyof typeof WAITING} */ (stream.state)] ?? "";
    say(element, words);
    element.closest("section").dataset.state = stream.state;
  }
  const trades = streams.find((one) => one.channel === "trades");
  $("no-trades").textContent = trades?.state === "live" ? "No trades yet; the market is quiet." : "";
}

/** @param {HTMLElement} element @param {string} text */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = !text;
}

/** @param {any} stream @param {any} error */
function refused(stream, error) {
  if (error.retryable) {
    events.tell("wait", `${error.message}; it is tried again.`);
    return;
  }
  events.tell("bad", `${stream.channel}: ${error.message}`);
  const suggestions = error.details?.suggestions ?? error.details?.allowed ?? [];
  const symbol = view.symbol;
  if (error.code === "BAD_SYMBOL") refuse(`${view.exchange} has no market “${symbol}”.`, suggestions, (one) => go({ ...view, symbol: one }));
  else refuse(`${error.message}.`, [], () => {});
}

/** @param {string} text @param {string[]} suggestions @param {(suggestion: string) => void} choose */
function refuse(text, suggestions, choose) {
  $("refusal-text").textContent = text;
  const buttons = suggestions.slice(0, 8).map((suggestion) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button";
    button.textContent = suggestion;
    button.addEventListener("click", () => choose(suggestion));
    return button;
  });
  $("refusal-hint").textContent = buttons.length ? "Did you mean:" : "Choose another with the search above, or press /.";
  $("suggestions").replaceChildren(...buttons);
  $("refusal").hidden = false;
}

// -- what happens -----------------------------------------------------------------------------------------------------

let connectedOnce = false;
gateway.on("status", (event) => {
  const level = event.status === "open" ? "good" : event.status === "connecting" ? "wait" : "bad";
  if (event.status !== "connecting") events.tell(level, connectionSentence(event, connectedOnce), { toast: connectedOnce });
  connectedOnce ||= event.status === "open";
  notices();
});
/** @type {any[]} states of this moment: the streams of one exchange change together, and are told together */
let changes = [];
gateway.on("topic", (frame) => {
  health.told(/** @type {any} */ (frame));
  if (frame.state === "connecting" || (frame.state === "live" && frame.previous === "connecting")) return;
  if (!changes.length) setTimeout(tellChanges, MOMENT);
  changes.push(frame);
});

function tellChanges() {
  for (const [state, frames] of Map.groupBy(changes.splice(0), (frame) => frame.state)) {
    const level = state === "live" ? "good" : ["stale", "resyncing"].includes(state) ? "wait" : "bad";
    for (const sentence of stateSentences(frames)) {
      events.tell(level, sentence, { toast: level !== "wait" && frames.some((frame) => !(frame.attempt > 1)) });
    }
  }
}
gateway.on("gap", (gap) => events.tell(gap.missing === 0 ? "good" : "bad", gapSentence(gap), { toast: gap.missing !== 0 }));
gateway.on("warning", (frame) => events.tell("wait", laggedSentence(/** @type {any} */ (frame)), { toast: true }));
gateway.on("goaway", () => events.tell("wait", "The gateway is about to restart; another connection is made first.", { toast: true }));
gateway.on("frame", ({ frame }) => {
  if (frame.type !== "subscribed" || !frame.resume || frame.channel === "orderbook") return;
  const { status, count } = frame.resume;
  const what = status === "recovered" ? `went on behind the last cursor, ${count ?? 0} frames replayed` : `resume ${status}`;
  events.tell(status === "recovered" ? "good" : "wait", `${frame.channel === "ohlcv" ? "Candles" : "Trades"}: ${what}.`);
});

// -- what a person does -----------------------------------------------------------------------------------------------

$("exchange").addEventListener("change", (/** @type {any} */ event) => go({ ...view, exchange: event.target.value, symbol: "" }));
$("levels").addEventListener("change", (/** @type {any} */ event) => go({ ...view, levels: Number(event.target.value) }));
$("timeframes").addEventListener("click", (/** @type {any} */ event) => {
  const chosen = event.target.closest("button");
  if (chosen) go({ ...view, timeframe: chosen.value });
});
$("clear").addEventListener("click", () => events.clear());
$("tabs").addEventListener("click", (/** @type {any} */ event) => {
  const chosen = event.target.closest("button");
  if (chosen) tab(chosen.value);
});
for (const button of document.querySelectorAll("[data-toggle-whatif]")) button.addEventListener("click", toggleWhatIf);
addEventListener("popstate", () => show(read(location.search)));

const keys = Object.fromEntries(TIMEFRAMES.map((_, number) => [String(number + 1), () => pick(number)]));
keyboard({ ...keys, "/": () => $("search").focus(), t: toggleTheme, w: toggleWhatIf }, $("shortcuts"));
$("help").addEventListener("click", () => $("shortcuts").showModal());

/** @param {number} number */
function pick(number) {
  $("timeframes").children[number]?.click();
}

/** @param {string} name */
function tab(name) {
  document.body.dataset.tab = name;
  for (const button of $("tabs").children) button.setAttribute("aria-pressed", String(button.value === name));
}

function toggleWhatIf() {
  if ($("whatif-open").hidden) return;
  const open = document.body.toggleAttribute("data-whatif");
  $("whatif-open").setAttribute("aria-expanded", String(open));
}

/** @param {string[]} offered */
function timeframes(offered) {
  $("timeframes").replaceChildren(...offered.map((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.value = button.textContent = name;
    button.setAttribute("aria-pressed", String(name === view.timeframe));
    return button;
  }));
}

/** @param {HTMLSelectElement} select @param {string[]} values @param {string} chosen */
function options(select, values, chosen) {
  select.replaceChildren(...values.map((value) => new Option(value, value, false, value === chosen)));
}

/** Only the demo has the switch for faults; what a gateway has, it says at `/`. */
async function offerWhatIf() {
  const answer = await fetch("/", { headers: { Accept: "application/json" }, cache: "no-store" }).catch(() => null);
  const about = await answer?.json().catch(() => null);
  if (!about?.paths?.includes("/demo/faults")) return;
  const place = () => ({ exchange: view.exchange, type: market?.type ?? "", native: market?.exchangeMarketId ?? "" });
  new WhatIf($("whatif"), events, { place, healthy, topics: fat, url: gateway.url });
  for (const element of document.querySelectorAll("[data-demo]")) /** @type {HTMLElement} */ (element).hidden = false;
}

function healthy() {
  return gateway.status === "open" && streams.every((stream) => stream.state === "live");
}

/** Streams that fill a socket: every depth of this book, each change of it, and the page's own. */
function fat() {
  const { exchange, symbol, timeframe } = view;
  const { levels } = capabilities.exchanges.find((/** @type {any} */ one) => one.exchange === exchange).channels.orderbook;
  const depths = levels.slice(-4).map((/** @type {number} */ depth) => (
    { channel: "orderbook", exchange, symbol, params: { levels: depth, throttleMs: 0 } }
  ));
  return [{ channel: "trades", exchange, symbol }, { channel: "ohlcv", exchange, symbol, params: { timeframe } }, ...depths];
}

tab("chart");
show(view).catch((error) => refuse(`${error.message}.`, [], () => {}));
offerWhatIf();

/** For tests and the console of the browser: what the page has. */
Object.assign(globalThis, { page: { gateway, chart, ladder, events, streams: () => streams, view: () => view } });
