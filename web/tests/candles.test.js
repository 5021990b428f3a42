import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { data, Heard, Server, TOPIC } from "./server.js";

let server, peer, heard, gateway;
beforeEach(async () => {
  server = await Server.start();
  heard = new Heard();
  gateway = server.connect();
  gateway.candles(TOPIC, heard.put);
  peer = await server.greeted();
  await peer.accept();
});
afterEach(() => server.stop());

const frame = (cursor, rows, more = {}) => {
  const meta = rows.map(([, , closed = false, complete = true]) => ({ closed, complete, source: "venue" }));
  return data("ohlcv", cursor, rows.map(([time, close]) => [time, 1, 9, 0, close, null]), { meta, ...more });
};
const closes = ({ value }) => value.map(({ timestamp, close }) => [timestamp, close]);

test("history and what is live are one series, each open time once", async () => {
  peer.say(frame("1-3", [[60, 1, true], [120, 2]]), frame("1-4", [[120, 3, true]]), frame("1-5", [[180, 4]]));
  const all = await heard.reaches(3);
  assert.deepEqual(all.map(closes), [
    [[60, 1], [120, 2]],
    [[60, 1], [120, 3]],
    [[60, 1], [120, 3], [180, 4]],
  ]);
  assert.deepEqual(all[1].update.changed.map(({ timestamp, closed }) => [timestamp, closed]), [[120, true]]);
  assert.equal(all[0].value[0], all[2].value[0]); // what did not change is the same object
  assert.notEqual(all[0].value, all[1].value);
});

test("a repair goes where it belongs, and says that it is one", async () => {
  peer.say(frame("1-1", [[60, 1, true, false], [180, 3]]), frame("1-2", [[60, 5, true], [120, 6, true]], { repair: true }));
  const [, { value, update }] = await heard.reaches(2);
  assert.deepEqual(closes({ value }), [[60, 5], [120, 6], [180, 3]]);
  assert.deepEqual([update.repair, value[0].complete], [true, true]);
});

test("a candle says whether it is final and whole", async () => {
  peer.say(frame("1-1", [[60, 1, true, false]]));
  const [{ value }] = await heard.reaches(1);
  assert.deepEqual(value, [
    { timestamp: 60, open: 1, high: 9, low: 0, close: 1, volume: null, closed: true, complete: false },
  ]);
});

test("who comes later is given all of it as changed", async () => {
  peer.say(frame("1-1", [[60, 1, true], [120, 2]]), frame("1-2", [[120, 3]]));
  await heard.reaches(2);
  const later = new Heard();
  gateway.candles(TOPIC, later.put);
  assert.deepEqual(later.all[0].update.changed, later.all[0].value);
  assert.deepEqual(closes(later.all[0]), [[60, 1], [120, 3]]);
});
