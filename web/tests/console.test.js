/** What of the console is pure: the chain of cursors, commands for other tools, a frame on one line. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 as zlib } from "node:zlib";

import { Chain, crc32 } from "../page/chain.js";
import { completions, curl, TEMPLATES, websocat } from "../page/commands.js";
import { gist, pretty } from "../page/frames.js";

const topic = { exchange: "binance", symbol: "BTC/USDT:USDT", params: {} };
const trades = (cursor) => ({ type: "trades", channel: "trades", topic, cursor, data: [] });
const gap = (from, to, more) => ({ type: "gap", channel: "trades", topic, from: { cursor: from }, to: { cursor: to }, missing: 3, ...more });
const book = (cursor, bids, more) => (
  { type: "orderbook", channel: "orderbook", topic: { ...topic, params: { levels: 2 } }, cursor, data: { bids, asks: [["11", "1"]] }, ...more }
);

function checked(...frames) {
  const chain = new Chain();
  for (const frame of frames) chain.take(frame);
  return chain.verdict;
}

test("a chain is whole while seq rises by one, gaps included", () => {
  const verdict = checked(trades("5-7"), trades("5-8"), gap("5-8", "5-10", { cursor: "5-9" }), trades("5-10"));
  assert.deepEqual([verdict.ok, verdict.gaps, verdict.declared, verdict.cursor], [true, 1, 3, "5-10"]);
});

test("a hole that nobody declared breaks it, and the first fault is kept", () => {
  const verdict = checked(trades("5-7"), trades("5-9"), trades("5-20"));
  assert.equal(verdict.ok, false);
  assert.equal(verdict.fault, "5-9 follows 5-7 and no gap says why");
});

test("a repeated frame breaks it", () => {
  assert.equal(checked(trades("5-7"), trades("5-7")).ok, false);
});

test("a hole that a gap of this client covers does not break it, a bigger one does", () => {
  assert.equal(checked(trades("5-7"), gap("5-7", "5-20"), trades("5-20")).ok, true);
  assert.equal(checked(trades("5-7"), gap("5-7", "5-20"), trades("5-22")).ok, false);
});

test("a new epoch begins anywhere, and epochs only rise", () => {
  assert.equal(checked(trades("5-7"), trades("6-40")).ok, true);
  assert.equal(checked(trades("6-7"), trades("5-8")).ok, false);
});

test("a book's cursor may leap but not fall", () => {
  assert.equal(checked(book("5-7", []), book("5-90", [])).ok, true);
  assert.equal(checked(book("5-7", []), book("5-6", [])).ok, false);
});


test("a book's changes extend what was sent, and checksums agree", () => {
  const first = book("5-1", [["10", "1"], ["9", "2"]], { kind: "snapshot", checksum: zlib("10:1:11:1:9:2") });
  const second = book("5-4", [["10", "0"], ["9.5", "3"], ["8", "1"]], { kind: "delta", prev: "5-1", checksum: zlib("9.5:3:11:1:9:2") });
  const verdict = checked(first, second);
  assert.deepEqual([verdict.fault, verdict.checksums], ["", 2]);
  assert.match(checked(first, { ...second, prev: "5-2" }).fault, /extends 5-2, not 5-1/);
  assert.match(checked(first, { ...second, checksum: 1 }).fault, /checksum 1, but the book has/);
});

test("the checksum is zlib's", () => {
  assert.equal(crc32("123456789"), 0xcbf43926);
});

test("each template is a command, and has its like for websocat", () => {
  for (const { command } of TEMPLATES) assert.match(websocat(command, "ws://here/v1/ws"), /^echo '\{"op":.*\}' \| websocat --no-close ws:\/\/here/);
});

test("a subscription is asked for by REST, each of a batch by itself", () => {
  const item = { channel: "ohlcv", exchange: "bybit", symbol: "BTC/USDT", params: { interval: "5m", category: "spot" } };
  assert.equal(
    curl({ op: "subscribe", ...item, rewind: 10 }, "http://here"),
    `curl -s http://here/v1/fetchOHLCV -d '{"exchange":"bybit","symbol":"BTC/USDT","timeframe":"5m","limit":10,"params":{"category":"spot"}}'`,
  );
  assert.equal(curl({ op: "subscribe", topics: [item, item] }, "http://here").split("\n").length, 2);
  assert.equal(curl({ op: "pause" }, "http://here"), null);
});

test("quotes in a command do not end the shell's", () => {
  assert.ok(websocat({ op: "hello", client: "it's" }, "ws://here").includes(`"it'\\''s"`));
});

test("an operation and a channel are completed", () => {
  assert.deepEqual(completions('{"op":"unsub'), ["scribe", "scribeAll"]);
  assert.deepEqual(completions('{"op":"subscribe","channel":"or'), ["derbook"]);
  assert.deepEqual(completions('{"id":"or'), []);
});

test("a frame's line says what tells it from the next, and its rows stay rows", () => {
  assert.deepEqual(gist(JSON.stringify(trades("5-7"))), { kind: "trades", rest: 'binance BTC/USDT:USDT 5-7 {"data":[]}' });
  assert.deepEqual(gist("no frame"), { kind: "", rest: "no frame" });
  assert.equal(pretty({ bids: [[1, 2], [3, 4]] }), '{\n  "bids": [\n    [1, 2],\n    [3, 4]\n  ]\n}');
});
