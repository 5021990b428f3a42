import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { crc32 } from "node:zlib";

import { data, event, Heard, Server, TOPIC } from "./server.js";

const LEVELS = 5;
const PARAMS = { levels: LEVELS, mode: "delta" };

let server, peer, heard, subscription;
beforeEach(async () => {
  server = await Server.start();
  heard = new Heard();
  subscription = server.connect().orderBook({ ...TOPIC, params: PARAMS }, heard.put);
  peer = await server.greeted();
  await peer.accept();
});
afterEach(() => server.stop());

const frame = (cursor, bids, asks, more) => data("orderbook", cursor, { bids, asks }, more, PARAMS);
const snapshot = (cursor, bids, asks, more) => frame(cursor, bids, asks, { kind: "snapshot", reason: "join", ...more });
const delta = (cursor, prev, bids, asks, more) => frame(cursor, bids, asks, { kind: "delta", prev, ...more });

test("changes are absolute, 0 removes, and the best levels stay", async () => {
  peer.say(
    snapshot("1-1", [["10.0", "1"], ["9.0", "2"]], [["11.0", "1"]]),
    delta("1-4", "1-1", [["9.0", "0"], ["9.5", "3"], ["10.0", "4"]], [["10.5", "1"], ["12.0", "1"]]),
  );
  const [, { value }] = await heard.reaches(2);
  assert.deepEqual(value.bids, [[10, 4], [9.5, 3]]);
  assert.deepEqual(value.asks, [[10.5, 1], [11, 1], [12, 1]]);
  assert.deepEqual(value.decimals.bids, [["10.0", "4"], ["9.5", "3"]]);
});

test("a change that does not follow is not shown: a whole book is asked for, and shown", async () => {
  peer.say(snapshot("1-1", [["10", "1"]], []), delta("1-3", "1-2", [["10", "7"]], []));
  assert.deepEqual(await peer.heard("snapshot"), { op: "snapshot", channel: "orderbook", ...TOPIC, params: PARAMS });
  assert.equal(subscription.state, "resyncing");
  peer.say(delta("1-4", "1-3", [["10", "8"]], []), snapshot("1-4", [["10", "9"]], []), delta("1-5", "1-4", [["10", "5"]], []));
  const all = await heard.reaches(3);
  assert.deepEqual(all.map(({ value }) => value.bids[0][1]), [1, 9, 5]);
});

test("a wrong checksum is the same", async () => {
  const right = crc32("10:1:11:2");
  peer.say(snapshot("1-1", [["10", "1"]], [["11", "2"]], { checksum: right }));
  await heard.reaches(1);
  peer.say(delta("1-2", "1-1", [["9", "1"]], [], { checksum: right }));
  await peer.heard("snapshot");
  assert.equal(heard.all.length, 1);
});

test("a whole book that does not come is asked for again", async () => {
  peer.say(snapshot("1-1", [["10", "1"]], []), delta("1-3", "1-2", [["10", "7"]], []));
  await peer.heard("snapshot");
  await peer.heard("snapshot");
});

test("any series of changes gives what a plain model gives", async () => {
  let seed = 7;
  const random = (most) => ((seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) >> 8) % most;
  const model = { bids: new Map(), asks: new Map() };
  const best = (side, up) => [...model[side]].sort(([a], [b]) => (Number(a) - Number(b)) * up).slice(0, LEVELS);
  const expected = [];
  const frames = [];
  for (let seq = 1; seq <= 300; seq += 1) {
    const whole = seq % 50 === 1;
    const changes = { bids: [], asks: [] };
    for (const side of ["bids", "asks"]) {
      if (whole) model[side].clear();
      for (const n of new Set(Array.from({ length: whole ? LEVELS : random(4) }, () => random(12)))) {
        const price = ((side === "bids" ? 100 : 200) + n / 4).toFixed(2);
        const amount = whole ? "1.50" : random(3) ? String(random(9) + 1) : "0.00";
        changes[side].push([price, amount]);
        if (Number(amount)) model[side].set(price, amount);
        else model[side].delete(price);
      }
      model[side] = new Map(best(side, side === "bids" ? -1 : 1)); // what falls below the view is not spoken of
    }
    const [bids, asks] = [best("bids", -1), best("asks", 1)];
    const words = Array.from({ length: LEVELS }, (_, i) => [bids[i], asks[i]].filter(Boolean)).flat(2);
    expected.push({ bids, asks });
    const make = whole ? snapshot : (cursor, ...rest) => delta(cursor, `1-${seq - 1}`, ...rest);
    frames.push(make(`1-${seq}`, changes.bids, changes.asks, { checksum: crc32(words.join(":")) }));
  }
  peer.say(...frames);
  const all = await heard.reaches(300);
  assert.deepEqual(all.map(({ value }) => value.decimals), expected);
});

test("a whole book passes through as it came", async () => {
  const full = server.connect().orderBook(TOPIC);
  const other = await server.greeted();
  await other.accept();
  const next = full[Symbol.asyncIterator]().next();
  other.say(data("orderbook", "1-1", { symbol: "BTC/USDT:USDT", bids: [[1, 2]], asks: [], nonce: 3 }));
  assert.deepEqual((await next).value, { symbol: "BTC/USDT:USDT", bids: [[1, 2]], asks: [], nonce: 3 });
});

test("who comes later is given the book as it is", async () => {
  peer.say(snapshot("1-1", [["10", "1"]], []));
  await heard.reaches(1);
  for await (const book of subscription) {
    assert.deepEqual(book.bids, [[10, 1]]);
    break;
  }
  assert.equal(subscription.state, "live"); // there is a handler yet
});
