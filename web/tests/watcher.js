/**
 * Watches a gateway for a test in another language: `node watcher.js ws://…`. Each line on standard input asks for a
 * report, which is printed as one line: what came, what was told, and what is held.
 */
import { createInterface } from "node:readline";
import { WebSocket } from "ws";

import { connect } from "../client.js";

const BOOKS_HELD = 2_000;
const topic = { exchange: "binance", symbol: "BTC/USDT:USDT" };
const gateway = connect(process.argv[2], { WebSocket, client: "watcher" });

const gaps = [];
const statuses = [];
const states = {};
const ids = [];
const books = { full: new Map(), delta: new Map() };
gateway.on("gap", ({ channel, reason, missing }) => gaps.push({ channel, reason, missing }));
gateway.on("status", ({ status, code, reason }) => statuses.push([status, code, reason]));

/** Note each state that it goes through. */
function noted(name, subscription) {
  states[name] = [];
  subscription.on("state", ({ state }) => states[name].push(state));
  return subscription;
}

function held(kind) {
  return (book) => {
    books[kind].set(book.nonce, { bids: book.bids, asks: book.asks });
    if (books[kind].size > BOOKS_HELD) books[kind].delete(books[kind].keys().next().value);
  };
}

const trades = noted("trades", gateway.trades(topic, (rows) => ids.push(...rows.map(({ id }) => id)), { rewind: 50 }));
const delta = { ...topic, params: { levels: 50, mode: "delta" } };
noted("delta", gateway.orderBook(delta, held("delta")));
noted("full", gateway.orderBook({ ...topic, params: { levels: 20 } }, held("full")));
const candles = noted("candles", gateway.candles(topic, undefined, { rewind: 100 }));

createInterface({ input: process.stdin })
  .on("line", () => {
    const report = {
      status: gateway.status,
      reconnects: gateway.reconnects,
      statuses,
      states,
      gaps,
      ids,
      cursor: trades.cursor,
      candles: (candles.value ?? []).map((one) => [one.timestamp, one.open, one.high, one.low, one.close, one.volume]),
      open: (candles.value ?? []).filter(({ closed }) => !closed).map(({ timestamp }) => timestamp),
      books: { full: Object.fromEntries(books.full), delta: Object.fromEntries(books.delta) },
    };
    console.log(JSON.stringify(report));
  })
  .on("close", () => process.exit());
