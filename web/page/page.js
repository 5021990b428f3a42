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
import { tellNews } from "./news.js";
import { fixed } from "./number.js";
import { Refusal } from "./refusal.js";
import { Streams } from "./streams.js";
import { Tape } from "./tape.js";
import { toggleTheme } from "./theme.js";
import { WhatIf } from "./whatif.js";
import { banner, channelName, WAITING } from "./words.js";

/** @typedef {import("./address.js").View} View @typedef {import("./catalogue.js").Market} Market */

const ASK_AGAIN = 2_000; // milliseconds

const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

const gateway = connect(new URL("/v1/ws", location.href), { client: "market-gateway-page", WebSocket: Line });
const events = new Events($("events"), $("no-events"), $("toasts"));
const chart = new Chart($("chart"), $("legend"), $("no-chart"));
const ladder = new Ladder($("ladder"));
const tape = new Tape($("tape"), $("no-trades"));
const health = new Health($("badge"), $("health"), gateway);
const refusal = new Refusal($("refusal"));
const streams = new Streams(gateway, { chart, ladder, tape, health }, { priced, changed: notices, refused });
const picker = new MarketPicker($("search"), $("markets"), (chosen) => go({ ...view, symbol: chosen.symbol }));

/** @type {View} */
let view = read(location.search);
/** @type {Market | undefined} undefined: the catalogue does not know it, or has not come yet */
let market;
/** @type {any} */
let capabilities = null;
/** @type {Map<string, Promise<Market[]>>} by exchange */
const catalogues = new Map();
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
function show(wanted) {
  refusal.clear();
  const known = market && wanted.exchange === view.exchange && wanted.symbol === view.symbol;
  view = wanted;
  if (known) {
    choices();
    streams.change(view);
  } else begin().catch((error) => refusal.say(`${error.message}.`));
}

/** Another market: what the address leaves open is chosen here. */
async function begin() {
  const mine = ++turn;
  streams.end();
  market = undefined;
  capabilities ??= await ask("capabilities");
  if (mine !== turn) return;
  const offered = capabilities.exchanges.map((/** @type {any} */ one) => one.exchange);
  view.exchange ||= offered[0];
  options($("exchange"), offered, view.exchange);
  if (!offered.includes(view.exchange)) {
    const choose = (/** @type {string} */ exchange) => go({ ...view, exchange, symbol: "" });
    refusal.say(`This gateway does not offer ${view.exchange}.`, offered, choose);
    return;
  }
  picker.offer([]);
  picker.show(view.symbol);
  const markets = await catalogue(view.exchange);
  if (mine !== turn) return;
  picker.offer(markets);
  market = view.symbol ? find(markets, view.symbol) : favourite(markets);
  if (market) view.symbol = market.symbol;
  choices();
  history.replaceState(null, "", write(view));
  picker.show(view.symbol);
  $("symbol").textContent = view.symbol;
  $("type").textContent = market ? `${view.exchange} · ${market.type}` : view.exchange;
  document.title = `${view.symbol} · market-gateway`;
  lastPrice = 0;
  $("price").textContent = "–";
  delete $("price").dataset.side;
  streams.begin(view, market);
}

/** Depths and timeframes that the exchange has. */
function choices() {
  const { orderbook, ohlcv } = offer();
  const depths = LEVELS.filter((levels) => orderbook.levels.includes(levels));
  if (!depths.includes(view.levels)) view.levels = depths.at(-1) ?? 20;
  options($("levels"), depths.map(String), String(view.levels));
  timeframes(TIMEFRAMES.filter((one) => ohlcv.timeframes.includes(one)));
}

/** What the exchange that is shown offers, by channel. */
function offer() {
  return capabilities.exchanges.find((/** @type {any} */ one) => one.exchange === view.exchange).channels;
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

/** @param {number} price @param {string} side who took it; empty: a candle said so, which counts until a trade comes */
function priced(price, side) {
  if (!price || (!side && lastPrice)) return;
  const element = $("price");
  lastPrice = price;
  element.textContent = fixed(price, streams.digits.price);
  element.dataset.side = side;
  if (side) ladder.traded({ price, side });
}

setInterval(() => {
  if (lastPrice) document.title = `${fixed(lastPrice, streams.digits.price)} ${view.symbol} · market-gateway`;
  notices();
}, 1_000);

/** Say of each part why it stands still, if it does. */
function notices() {
  say($("banner"), banner(gateway.status, retryAt - Date.now()));
  for (const stream of streams.all) {
    const element = $(`${stream.channel}-notice`);
    say(element, WAITING[/** @type {keyof typeof WAITING} */ (stream.state)] ?? "");
    element.closest("section").dataset.state = stream.state;
  }
  const trades = streams.all.find((one) => one.channel === "trades");
  $("no-trades").textContent = trades?.state === "live" ? "No trades yet; the market is quiet." : "";
}

/** @param {HTMLElement} element @param {string} text */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = !text;
}

/** @param {import("../client.d.ts").Subscription<any>} stream @param {any} error */
function refused(stream, error) {
  if (error.retryable) {
    events.tell("wait", `${error.message}; it is tried again.`);
    return;
  }
  events.tell("bad", `${channelName(stream.channel)}: ${error.message}.`);
  const choose = (/** @type {string} */ symbol) => go({ ...view, symbol });
  if (error.code === "BAD_SYMBOL") refusal.say(`${view.exchange} has no market “${view.symbol}”.`, error.details?.suggestions, choose);
  else refusal.say(`${error.message}.`);
}

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
  return gateway.status === "open" && streams.all.every((stream) => stream.state === "live");
}

/** Streams that fill a socket: this book in all its depths, each change of it, and the page's own. */
function fat() {
  const { exchange, symbol, timeframe } = view;
  const topic = { exchange, symbol };
  const depths = offer().orderbook.levels.slice(-4).map((/** @type {number} */ levels) => (
    { channel: "orderbook", ...topic, params: { levels, throttleMs: 0 } }
  ));
  return [{ channel: "trades", ...topic }, { channel: "ohlcv", ...topic, params: { timeframe } }, ...depths];
}

tellNews(gateway, events);
gateway.on("status", notices);
gateway.on("topic", (frame) => health.told(/** @type {any} */ (frame)));
tab("chart");
show(view);
offerWhatIf();

/** For tests and the console of the browser: what the page has. */
Object.assign(globalThis, { page: { gateway, chart, ladder, events, streams: () => streams.all, view: () => view } });
