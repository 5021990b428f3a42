/** What of the page is pure: addresses, numbers, sentences, the ladder, the catalogue's search. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { read, same, write } from "../page/address.js";
import { favourite, find, search } from "../page/catalogue.js";
import { ladder, spread } from "../page/ladder.js";
import { compact, digitsAmong, digitsOf, duration, fixed, percent, size } from "../page/number.js";
import { banner, connectionSentence, gapSentence, health, stateSentences, worst } from "../page/words.js";

const view = (more) => ({ exchange: "binance", symbol: "BTC/USDT:USDT", timeframe: "1m", levels: 20, ...more });

test("an address says what is shown, as people write it, and is read back", () => {
  assert.equal(write(view()), "/?exchange=binance&symbol=BTC/USDT:USDT&timeframe=1m&levels=20");
  for (const one of [view(), view({ symbol: "币安人生/USDT:USDT", levels: 5 }), view({ symbol: "A&B=C d/USD" })]) {
    assert.deepEqual(read(new URL(write(one), "http://here").search), one);
  }
});

test("an address that asks for nothing, or for what cannot be, is a view all the same", () => {
  assert.deepEqual(read(""), { exchange: "", symbol: "", timeframe: "1m", levels: 20 });
  assert.equal(read("?levels=7").levels, 20);
  assert.ok(same(view(), view()));
  assert.ok(!same(view(), view({ timeframe: "5m" })));
});

test("numbers have the digits of their market, and a minus that is one", () => {
  assert.equal(fixed(68405.1, 1), "68,405.1");
  assert.equal(fixed(-0.5, 2), "−0.50");
  assert.deepEqual([0.1, 1, 5, 0.001, 1e-7, 2.5e-8].map(digitsOf), [1, 0, 0, 3, 7, 9]);
  assert.equal(digitsAmong([1, 1.25, 1.5]), 2);
  assert.deepEqual([12.3456, 1234.56, 150_000, 2_500_000].map(compact), ["12.346", "1,234.6", "150.00 k", "2.50 M"]);
  assert.equal(percent(0.01234), "+1.23\u202f%");
  assert.deepEqual([0, 999, 1500, 15_000, 600_000].map(duration), ["0 ms", "999 ms", "1.5 s", "15 s", "10 min"]);
  assert.deepEqual([10, 2048, 3_145_728].map(size), ["10 B", "2.0 KiB", "3.0 MiB"]);
});

test("a ladder's totals run from the best price, and its bars compare both sides", () => {
  const { bids, asks } = ladder({ bids: [[10, 1], [9, 2], [8, 9]], asks: [[11, 4], [12, 2]] }, 2);
  assert.deepEqual(bids, [{ price: 10, amount: 1, total: 1, depth: 1 / 6 }, { price: 9, amount: 2, total: 3, depth: 0.5 }]);
  assert.deepEqual(asks.map((level) => [level.total, level.depth]), [[4, 4 / 6], [6, 1]]);
});

test("an empty book has an empty ladder and no spread", () => {
  assert.deepEqual(ladder({ bids: [], asks: [] }, 5), { bids: [], asks: [] });
  assert.equal(spread({ bids: [], asks: [[1, 1]] }), null);
  assert.deepEqual(spread({ bids: [[99, 1]], asks: [[101, 1]] }), { distance: 2, basisPoints: 200 });
});

const market = (symbol, base, type, exchangeMarketId) => ({ symbol, base, quote: "USDT", type, exchangeMarketId });
const MARKETS = [
  market("ETH/BTC", "ETH", "spot", "ETHBTC"),
  market("BTC/USDT:USDT", "BTC", "perp", "BTCUSDT"),
  market("BTC/USDT", "BTC", "spot", "BTCUSDT"),
  market("1000PEPE/USDT:USDT", "1000PEPE", "perp", "1000PEPEUSDT"),
];
const symbols = (text) => search(MARKETS, text).map((one) => one.symbol);

test("a market is found by its base, any part of a name, or several words", () => {
  assert.deepEqual(symbols(""), MARKETS.map((one) => one.symbol));
  assert.deepEqual(symbols("btc"), ["BTC/USDT:USDT", "BTC/USDT", "ETH/BTC"]);
  assert.deepEqual(symbols("pepe"), ["1000PEPE/USDT:USDT"]);
  assert.deepEqual(symbols("btc spot"), ["BTC/USDT", "ETH/BTC"]);
  assert.deepEqual(symbols("nothing"), []);
  assert.equal(favourite(MARKETS).symbol, "BTC/USDT:USDT");
  assert.equal(find(MARKETS, "ETHBTC").symbol, "ETH/BTC");
});

test("the badge shows the worst of what there is", () => {
  assert.equal(worst(["live", "resyncing", "stale"]), "resyncing");
  assert.deepEqual(health("open", ["live", "live"]), { level: "good", word: "Live" });
  assert.deepEqual(health("open", ["live", "reconnecting"]), { level: "bad", word: "Reconnecting" });
  assert.deepEqual(health("open", []), { level: "wait", word: "Connecting" });
  assert.deepEqual(health("reconnecting", ["live"]), { level: "bad", word: "Offline" });
});

test("what happens to several streams at once is one sentence", () => {
  const lost = (channel, retryInMs) => ({ channel, state: "reconnecting", reason: "reset", retryInMs });
  assert.deepEqual(stateSentences([lost("ohlcv", 163), lost("trades", 165), lost("orderbook", 12_345)]), [
    "Candles and trades: the exchange’s connection was lost (reset); next try in 0.2 s.",
    "Order book: the exchange’s connection was lost (reset); next try in 12 s.",
  ]);
});

test("a gap says whether anything is missing", () => {
  const gap = { channel: "trades", reason: "UPSTREAM_RECONNECT", missing: 0, backfilled: true, rows: 41 };
  assert.match(gapSentence(gap), /nothing is missing.*41 trades fetched/);
  assert.match(gapSentence({ ...gap, missing: 1, backfilled: false, rows: 0 }), /^Trades: 1 trade missing/);
  assert.match(gapSentence({ ...gap, missing: null, backfilled: false }), /an unknown number of trades is missing/);
});

test("the banner is there only while the gateway is not", () => {
  assert.equal(banner("open", -5), "");
  assert.equal(banner("open", 1_400), "Cannot reach the gateway, asking again in 2 s.");
  assert.match(banner("reconnecting", -5), /^Cannot reach the gateway/);
});

test("a lost gateway is said with the time of the next try", () => {
  assert.equal(connectionSentence({ status: "reconnecting", code: 1005, retryInMs: 958 }, true), "Lost the gateway, retrying in 1.0 s.");
  assert.equal(connectionSentence({ status: "reconnecting", code: 1006, retryInMs: 20 }, false), "Cannot reach the gateway, retrying in 0.1 s.");
  assert.match(connectionSentence({ status: "reconnecting", code: 4101, reason: "too slow", retryInMs: 5_000 }, true), /\(code 4101, too slow\)/);
});
