/** The client against a real gateway on simulated venues: what it shows is what REST says, whatever went wrong between. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { WebSocket } from "ws";

import { connect } from "../client.js";
import { Latest, reaches, Tape, Venues } from "./venues.js";

const { GATEWAY_URL, SIMULATOR_URL } = process.env;
const skip = GATEWAY_URL && SIMULATOR_URL ? false : "GATEWAY_URL and SIMULATOR_URL name no gateway and no simulator";

const BTC = { exchange: "binance", symbol: "BTC/USDT:USDT" };
const MARKETS = [BTC, { exchange: "bybit", symbol: "BTC/USDT:USDT" }, { exchange: "hyperliquid", symbol: "BTC/USDC:USDC" }];

describe("a real gateway", { skip, timeout: 60_000 }, () => {
  const venues = new Venues(SIMULATOR_URL);
  let gateway;
  let gaps;
  let errors;
  beforeEach(() => {
    gateway = connect(GATEWAY_URL, { WebSocket, client: "tests" });
    gaps = [];
    gateway.on("gap", (gap) => gaps.push(gap));
    errors = [];
    gateway.on("error", (error) => errors.push(error.code));
  });
  afterEach(() => {
    gateway.close();
    assert.deepEqual(errors, []);
  });

  const undeclared = () => gaps.filter(({ reason }) => reason === "UNDECLARED");

  /** What REST says while nothing moves is what we have by then. */
  async function sameBook(topic, book, levels) {
    const { data } = await gateway.fetch("fetchOrderBook", { ...topic, limit: levels });
    const mine = await book.until(({ nonce, timestamp }) => nonce === data.nonce && timestamp === data.timestamp);
    assert.deepEqual([mine.bids, mine.asks], [data.bids, data.asks]);
  }

  async function sameCandles(topic, series, limit) {
    const { data } = await gateway.fetch("fetchOHLCV", { ...topic, limit });
    const last = data.at(-1);
    const mine = await series.until((rows) => rows.at(-1).timestamp === last[0] && rows.at(-1).volume === last[5]);
    assert.deepEqual(mine.slice(-limit).map((c) => [c.timestamp, c.open, c.high, c.low, c.close, c.volume]), data);
  }

  for (const mode of ["full", "delta"]) {
    test(`a ${mode} book is the one that REST gives, at every venue`, async () => {
      const books = MARKETS.map(() => new Latest());
      MARKETS.forEach((topic, i) => gateway.orderBook({ ...topic, params: { levels: 5, mode } }, books[i].put));
      await Promise.all(books.map((book) => book.until(() => book.updates > 2)));
      await venues.frozen(() => Promise.all(MARKETS.map((topic, i) => sameBook(topic, books[i], 5))));
      assert.deepEqual(gaps, []);
    });
  }

  test("a series of candles is the one that REST gives, at every venue", async () => {
    const all = MARKETS.map(() => new Latest());
    MARKETS.forEach((topic, i) => gateway.candles(topic, all[i].put, { rewind: 100 }));
    await Promise.all(all.map((series) => series.until(() => series.updates > 1)));
    await venues.frozen(() => Promise.all(MARKETS.map((topic, i) => sameCandles(topic, all[i], 100))));
  });

  test("what follows a REST answer by its cursor joins it exactly", async () => {
    const first = new Tape((handler) => gateway.trades(BTC, handler));
    await first.more(1); // the topic is live, or REST would have no cursor
    const { data, cursor } = await gateway.fetch("fetchTrades", { ...BTC, limit: 50 });
    const other = connect(GATEWAY_URL, { WebSocket });
    try {
      const then = new Tape((handler) => other.trades(BTC, handler, { since: cursor }));
      await then.more(10);
      assert.equal(then.ids[0], Number(data.at(-1).id) + 1);
      assert.deepEqual([then.missing, then.twice, then.gaps], [[], [], []]);
    } finally {
      other.close();
    }
  });

  const FAULTS = {
    "a reset connection": ["reset"],
    "a stalled one": ["freeze", { seconds: 1 }],
    "a lost message of trades": ["drop", { channel: "trades", symbol: "BTCUSDT" }],
    "a lost change of a book": ["drop", { channel: "orderbook", symbol: "BTCUSDT" }],
    "a message of trades that comes twice": ["duplicate", { channel: "trades", symbol: "BTCUSDT" }],
  };
  for (const [what, [kind, more]] of Object.entries(FAULTS)) {
    test(`${what} at the venue leaves nothing undeclared, and the end is what REST says`, async () => {
      const tape = new Tape((handler) => gateway.trades(BTC, handler));
      const book = new Latest();
      const series = new Latest();
      const watched = [
        tape.subscription,
        gateway.orderBook({ ...BTC, params: { mode: "delta" } }, book.put),
        gateway.candles(BTC, series.put, { rewind: 50 }),
      ];
      await tape.more(3);
      await Promise.all(watched.map((one) => reaches(one, "live")));
      const { id } = await venues.fault(kind, more);
      await venues.struck(id);
      await tape.caughtUp(venues);
      await Promise.all(watched.map((one) => reaches(one, "live")));
      await venues.frozen(() => Promise.all([sameBook(BTC, book, 20), sameCandles(BTC, series, 50)]));
      assert.deepEqual([undeclared(), tape.twice, tape.missing.length], [[], [], tape.declared]);
    });
  }

  test("a pause sends nothing, and its end brings what was missed", async () => {
    const paused = new Tape((handler) => gateway.trades(BTC, handler));
    const other = connect(GATEWAY_URL, { WebSocket });
    try {
      const witness = new Tape((handler) => other.trades(BTC, handler));
      await Promise.all([paused.more(1), witness.more(1)]);
      const said = new Promise((resolve) => gateway.on("frame", ({ frame }) => frame.type === "paused" && resolve()));
      gateway.pause();
      await said;
      const before = paused.ids.length;
      await witness.more(10);
      assert.equal(paused.ids.length, before);
      gateway.resume();
      await paused.until(() => paused.ids.includes(witness.ids.at(-1)));
      assert.deepEqual([paused.missing, paused.twice, paused.gaps], [[], [], []]);
    } finally {
      other.close();
    }
  });

  test("as many topics as one connection may have are all live, and one more is refused alone", async () => {
    const topics = [];
    for (const exchange of ["binance", "bybit"]) {
      for (const { symbol, type } of (await gateway.fetch("fetchMarkets", { exchange })).data.markets) {
        if (type !== "perp") continue;
        topics.push(["trades", { exchange, symbol }]);
        for (const levels of [1, 5, 10, 20, 50, 100, 200, 500]) {
          for (const mode of ["full", "delta"]) topics.push(["orderBook", { exchange, symbol, params: { levels, mode } }]);
        }
      }
    }
    const all = topics.slice(0, 200).map(([method, topic]) => gateway[method](topic));
    assert.equal(all.length, 200);
    await Promise.all(all.map((one) => reaches(one, "live")));
    const [method, topic] = topics[200];
    const refused = gateway[method](topic);
    const error = await new Promise((resolve) => refused.on("error", resolve));
    assert.equal(error.code, "SUBSCRIPTION_LIMIT");
    assert.deepEqual(errors.splice(0), ["SUBSCRIPTION_LIMIT"]); // the one error of all of them
    assert.deepEqual(all.filter(({ state }) => state !== "live"), []);
  });
});
