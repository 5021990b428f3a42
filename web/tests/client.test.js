import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, mock, test } from "node:test";

import { data, event, Heard, HELLO, Server, TOPIC, trades } from "./server.js";

let server;
beforeEach(async () => {
  mock.method(Math, "random", () => 0.01); // pauses are short here
  server = await Server.start();
});
afterEach(() => {
  server.stop();
  mock.restoreAll();
});

/** A client that watches trades, and its connection. */
async function watching(how, options) {
  const gateway = server.connect(options);
  const heard = new Heard();
  const subscription = gateway.trades(TOPIC, heard.put, how);
  const peer = await server.greeted();
  await peer.accept();
  if (subscription.state !== "live") await event(subscription, "state");
  return { gateway, heard, subscription, peer };
}

describe("joining", () => {
  test("topics that are joined before the connection stands are asked for in one batch", async () => {
    const gateway = server.connect({ client: "test/1" });
    gateway.trades(TOPIC, undefined, { rewind: 50 });
    gateway.orderBook({ ...TOPIC, params: { levels: 5 } });
    gateway.candles(TOPIC);
    const peer = await server.greeted();
    assert.equal(peer.hello.client, "test/1");
    assert.deepEqual(await peer.accept(), [
      { channel: "trades", ...TOPIC, rewind: 50 },
      { channel: "orderbook", ...TOPIC, params: { levels: 5 } },
      { channel: "ohlcv", ...TOPIC, rewind: 300 },
    ]);
  });

  test("a batch is no larger than the gateway takes", async () => {
    const gateway = server.connect();
    for (const symbol of ["A", "B", "C"]) gateway.trades({ exchange: "binance", symbol });
    const peer = await server.greeted({ ...HELLO, limits: { topicsPerBatch: 2 } });
    assert.equal((await peer.accept()).length, 2);
    assert.equal((await peer.accept()).length, 1);
  });

  test("topics that are joined in one turn later on share a batch, too", async () => {
    const { gateway, peer } = await watching();
    gateway.orderBook(TOPIC);
    gateway.candles(TOPIC);
    assert.equal((await peer.accept()).length, 2);
  });

  test("who watches the same topic shares its subscription, and is given what there is", async () => {
    const { gateway, peer, heard } = await watching({ rewind: 2 });
    peer.say(trades("1-1", 1, 2, 3));
    await heard.reaches(1);
    const second = new Heard();
    gateway.trades(TOPIC, second.put, { rewind: 2 });
    assert.deepEqual(second.ids, [2, 3]);
    peer.say(trades("1-2", 4));
    await second.reaches(2);
    assert.deepEqual(second.ids, [2, 3, 4]);
  });

  test("the same topic under another name shares it likewise", async () => {
    const { gateway, peer, heard } = await watching();
    const second = new Heard();
    const other = gateway.trades({ exchange: "binance", symbol: "BTCUSDT" }, second.put);
    const { id } = await peer.heard("subscribe");
    peer.say({ type: "alreadySubscribed", id, index: 0, channel: "trades", topic: { ...TOPIC, params: {} }, state: "live" });
    peer.say({ type: "batch", id, ok: 1, failed: 0 }, trades("1-1", 1));
    await second.reaches(1);
    assert.deepEqual([heard.ids, second.ids], [[1], [1]]);
    assert.equal(other.topic.symbol, "BTC/USDT:USDT");
    other.unsubscribe();
    peer.say(trades("1-2", 2));
    await heard.reaches(2);
    assert.deepEqual(second.ids, [1]);
  });

  test("the last one to leave ends the subscription", async () => {
    const { gateway, peer, subscription } = await watching();
    const second = gateway.trades(TOPIC);
    subscription.unsubscribe();
    gateway.orderBook(TOPIC);
    await peer.accept(); // no unsubscribe before it
    second.unsubscribe();
    assert.deepEqual(await peer.heard("unsubscribe"), { op: "unsubscribe", channel: "trades", ...TOPIC, params: {} });
    assert.equal(second.state, "ended");
  });

  test("who leaves before the answer leaves nothing behind", async () => {
    const gateway = server.connect();
    const subscription = gateway.trades(TOPIC);
    const peer = await server.greeted();
    const { id } = await peer.heard("subscribe");
    subscription.unsubscribe();
    peer.say({ type: "subscribed", id, index: 0, channel: "trades", topic: { ...TOPIC, params: {} }, state: "live" });
    await peer.heard("unsubscribe");
  });

  test("who leaves and comes back before the answer keeps the subscription", async () => {
    const gateway = server.connect();
    const first = gateway.trades(TOPIC);
    const peer = await server.greeted();
    const { id } = await peer.heard("subscribe");
    first.unsubscribe();
    const heard = new Heard();
    gateway.trades(TOPIC, heard.put);
    peer.say({ type: "subscribed", id, index: 0, channel: "trades", topic: { ...TOPIC, params: {} }, state: "live" });
    peer.say({ type: "batch", id, ok: 1, failed: 0 }, trades("1-1", 1));
    await heard.reaches(1);
  });

  test("what the gateway refuses for good is an error of that topic alone", async () => {
    const { gateway, peer, heard } = await watching();
    const bad = gateway.trades({ exchange: "binance", symbol: "NOPE" });
    const { id } = await peer.heard("subscribe");
    const refusal = { code: "BAD_SYMBOL", message: "no such symbol", retryable: false, details: { suggestions: [] } };
    peer.say({ type: "error", id, index: 0, op: "subscribe", ...refusal }, { type: "batch", id, ok: 0, failed: 1 });
    const error = await event(bad, "error");
    assert.equal(error.name, "GatewayError");
    assert.deepEqual([error.code, error.message, error.details], ["BAD_SYMBOL", "no such symbol", { suggestions: [] }]);
    assert.equal(bad.state, "failed");
    peer.say(trades("1-1", 1));
    await heard.reaches(1);
  });

  test("what it refuses for now is asked for again", async () => {
    const gateway = server.connect();
    const subscription = gateway.trades(TOPIC);
    const peer = await server.greeted();
    const { id } = await peer.heard("subscribe");
    const refusal = { code: "UPSTREAM_CAPACITY", message: "later", retryable: true, retryAfterMs: 20 };
    peer.say({ type: "error", id, index: 0, op: "subscribe", ...refusal }, { type: "batch", id, ok: 0, failed: 1 });
    await peer.accept();
    assert.notEqual(subscription.state, "failed");
  });

  test("a subscription that the venue refuses later is over", async () => {
    const { peer, subscription } = await watching();
    const refusal = { code: "SUBSCRIBE_FAILED", message: "refused", retryable: true };
    peer.say({ type: "error", channel: "trades", topic: { ...TOPIC, params: {} }, ...refusal });
    await event(subscription, "error");
    assert.equal(subscription.state, "failed");
  });
});

describe("coming back", () => {
  test("a gap that comes again is told once", async () => {
    const { gateway, peer, heard } = await watching();
    const told = [];
    gateway.on("gap", (gap) => told.push(gap.reason));
    const gap = { type: "gap", channel: "trades", topic: { ...TOPIC, params: {} }, cursor: "1-2", reason: "VENUE_SKIP", to: {} };
    peer.say(trades("1-1", 1), gap, gap, trades("1-3", 2));
    await heard.reaches(2);
    assert.deepEqual(told, ["VENUE_SKIP"]);
  });

  test("each topic goes on behind its last cursor, and nothing comes twice", async () => {
    const { gateway, peer, heard } = await watching({ rewind: 10 });
    peer.say(trades("7-1", 1), trades("7-2", 2));
    await heard.reaches(2);
    peer.socket.terminate();
    const again = await server.greeted();
    assert.deepEqual(await again.accept(), [{ channel: "trades", ...TOPIC, params: {}, since: "7-2" }]);
    again.say(trades("7-2", 2), trades("7-3", 3));
    await heard.reaches(3);
    assert.deepEqual(heard.ids, [1, 2, 3]);
    assert.equal(gateway.reconnects, 1);
  });

  test("a book begins with a whole one", async () => {
    const gateway = server.connect();
    const heard = new Heard();
    gateway.orderBook(TOPIC, heard.put);
    const peer = await server.greeted();
    await peer.accept();
    peer.say(data("orderbook", "9-5", { bids: [[1, 1]], asks: [] }));
    await heard.reaches(1);
    peer.socket.terminate();
    const again = await server.greeted();
    assert.deepEqual(await again.accept(), [{ channel: "orderbook", ...TOPIC, params: {} }]);
    again.say(data("orderbook", "8-1", { bids: [[2, 1]], asks: [] }));
    await heard.reaches(2);
    assert.deepEqual(heard.all[1].value.bids, [[2, 1]]);
  });

  test("candles whose past is not held any more are asked for from the beginning", async () => {
    const gateway = server.connect();
    const heard = new Heard();
    gateway.candles(TOPIC, heard.put, { rewind: 10 });
    const peer = await server.greeted();
    await peer.accept();
    peer.say(data("ohlcv", "1-1", [[60, 1, 1, 1, 1, 1]], { meta: [{ closed: true, complete: true }] }));
    await heard.reaches(1);
    peer.socket.terminate();
    const again = await server.greeted();
    const [asked] = await again.accept({ resume: { status: "lost", from: "1-1", to: "1-9", count: 0 } });
    assert.equal(asked.since, "1-1");
    await again.heard("unsubscribe");
    const [anew] = await again.accept();
    assert.deepEqual([anew.since, anew.rewind], [undefined, 10]);
    again.say(data("ohlcv", "1-9", [[660, 2, 2, 2, 2, 2]], { meta: [{ closed: false, complete: true }] }));
    await heard.reaches(2);
    assert.deepEqual(heard.all[1].value.map((candle) => candle.timestamp), [660]); // a series has no silent hole
  });

  test("a cursor that the gateway does not know yet is forgotten, and that is said", async () => {
    const { peer, heard, subscription } = await watching();
    peer.say(trades("9-5", 1));
    await heard.reaches(1);
    peer.socket.terminate();
    const told = event(subscription, "gap");
    const again = await server.greeted();
    await again.accept({ resume: { status: "ahead", from: "9-5", to: "8-1", count: 0 } });
    assert.equal((await told).reason, "EPOCH_CHANGED");
    again.say(trades("8-2", 2));
    await heard.reaches(2);
  });

  test("the token is asked for anew", async () => {
    let number = 0;
    const { peer } = await watching({}, { token: async () => `token ${(number += 1)}` });
    assert.equal(peer.hello.token, "token 1");
    peer.socket.terminate();
    assert.equal((await server.greeted()).hello.token, "token 2");
  });

  test("the state of a topic without a connection is offline", async () => {
    const { peer, subscription } = await watching();
    peer.socket.terminate();
    assert.deepEqual(await event(subscription, "state"), { state: "offline" });
  });

  for (const code of [4000, 4001, 4005]) {
    test(`after ${code} it is not tried again`, async () => {
      const { gateway, peer, subscription } = await watching();
      peer.socket.close(code, "not like this");
      const error = await event(gateway, "error");
      assert.deepEqual([error.message, error.retryable], ["not like this", false]);
      assert.equal(gateway.status, "closed");
      assert.equal(subscription.state, "ended");
    });
  }

  for (const code of [1001, 1006, 1012, 1013, 4101, 4200, 4202]) {
    test(`after ${code} it is`, async () => {
      const { gateway, peer } = await watching();
      if (code === 1006) peer.socket.terminate();
      else peer.socket.close(code);
      const { status, retryInMs } = await event(gateway, "status");
      assert.equal(status, "reconnecting");
      assert.ok(retryInMs <= 1_000, `${retryInMs} ms`);
      await server.greeted();
    });
  }

  test("pauses between attempts grow, at random", async () => {
    Math.random.mock.mockImplementation(() => 0.1);
    const pauses = [];
    const gateway = server.connect();
    gateway.on("status", ({ retryInMs }) => pauses.push(retryInMs));
    for (let attempt = 0; attempt < 3; attempt += 1) {
      (await server.arrival()).socket.terminate();
      await event(gateway, "status");
    }
    assert.deepEqual(pauses, [100, 200, 400]);
  });

  test("what was on its way when the network went is no answer", async () => {
    const { gateway, peer, heard } = await watching();
    peer.onping = () => {};
    gateway.pause();
    gateway.resume(); // asks whether the connection lives
    peer.say(trades("1-1", 1));
    await heard.reaches(1);
    const { reason } = await event(gateway, "status");
    assert.equal(reason, "silent");
  });

  test("a gateway that says nothing any more is left", async () => {
    const gateway = server.connect();
    const peer = await server.greeted({ ...HELLO, heartbeatMs: 100 });
    peer.onping = () => {};
    const { reason } = await event(gateway, "status").then(() => event(gateway, "status"));
    assert.equal(reason, "silent");
    await server.greeted();
  });
});

describe("losses", () => {
  test("a hole that nobody declared is told", async () => {
    const { gateway, peer, heard, subscription } = await watching();
    const told = Promise.all([event(subscription, "gap"), event(gateway, "gap")]);
    peer.say(trades("1-1", 1), trades("1-4", 4));
    const [{ reason, from, to }] = await told;
    assert.deepEqual([reason, from.cursor, to.cursor], ["UNDECLARED", "1-1", "1-4"]);
    await heard.reaches(2);
  });

  const declared = {
    "an event of the feed": { cursor: "1-2", reason: "UPSTREAM_RECONNECT", to: { cursor: "1-3" } },
    "this client's own, up to the next frame": { reason: "CLIENT_SLOW", to: { cursor: "1-3" } },
    "this client's own, with the last one": { reason: "CLIENT_SLOW", to: { cursor: "1-2" } },
  };
  for (const [what, gap] of Object.entries(declared)) {
    test(`a declared one is told once: ${what}`, async () => {
      const { gateway, peer, heard } = await watching();
      const reasons = [];
      gateway.on("gap", ({ reason }) => reasons.push(reason));
      const where = { channel: "trades", topic: { ...TOPIC, params: {} } };
      peer.say(trades("1-1", 1), { type: "gap", ...where, ...gap }, trades("1-3", 3));
      await heard.reaches(2);
      assert.deepEqual(reasons, [gap.reason]);
    });
  }

  test("a new epoch is no hole", async () => {
    const { gateway, peer, heard } = await watching();
    gateway.on("gap", () => assert.fail("a gap"));
    peer.say(trades("1-1", 1), trades("2-1", 2));
    await heard.reaches(2);
  });

  test("trades that a new epoch begins with are not told to who had them, nor older ones", async () => {
    const { peer, heard, subscription } = await watching();
    const again = trades("2-1", 3, 4, 5, 6);
    again.data.push({ ...again.data[3], id: "beside 6" }); // of the same millisecond, and new
    peer.say(trades("1-1", 5, 6), again, trades("2-2", 6, 7));
    await heard.reaches(3);
    assert.deepEqual(heard.ids, [5, 6, NaN, 7]);
    assert.equal(subscription.cursor, "2-2");
  });

  test("frames of an epoch that is over are passed over", async () => {
    const { peer, heard } = await watching();
    peer.say(trades("2-1", 1), trades("1-9", 2), trades("2-2", 3));
    await heard.reaches(2);
    assert.deepEqual(heard.ids, [1, 3]);
  });
});

describe("a planned end", () => {
  test("another connection is made first, and nothing is lost or comes twice", async () => {
    const { gateway, peer, heard } = await watching();
    peer.say(trades("1-1", 1), { type: "goaway", reason: "DEPLOY", graceMs: 5_000, delayMs: 1 });
    const next = await server.arrival();
    await next.heard("hello");
    peer.say(trades("1-2", 2));
    await heard.reaches(2);
    next.say(HELLO);
    assert.equal((await next.accept())[0].since, "1-2");
    peer.say(trades("1-3", 3));
    next.say(trades("1-3", 3), trades("1-4", 4));
    await peer.closed;
    await heard.reaches(4);
    assert.deepEqual(heard.ids, [1, 2, 3, 4]);
    assert.deepEqual([gateway.status, gateway.reconnects], ["open", 1]);
  });

  test("if the other one cannot be made, it ends as any", async () => {
    const { peer, heard } = await watching();
    peer.say(trades("1-1", 1), { type: "goaway", reason: "DEPLOY", graceMs: 5_000, delayMs: 1 });
    (await server.arrival()).socket.terminate();
    peer.socket.close(1012);
    const again = await server.greeted();
    assert.equal((await again.accept())[0].since, "1-1");
    again.say(trades("1-2", 2));
    await heard.reaches(2);
  });
});

describe("consumers", () => {
  test("an iterator gives what came meanwhile as one", async () => {
    const { peer, heard, subscription } = await watching();
    const iterator = subscription[Symbol.asyncIterator]();
    peer.say(trades("1-1", 1), trades("1-2", 2, 3));
    await heard.reaches(2);
    const { value } = await iterator.next();
    assert.deepEqual(value.map(({ id }) => id), ["1", "2", "3"]);
  });

  test("it is bounded, and says what it could not hold", async () => {
    const { peer, heard, subscription } = await watching();
    const iterator = subscription[Symbol.asyncIterator]();
    const told = event(subscription, "gap");
    peer.say(trades("1-1", 1, 2, 3), trades("1-2", ...Array.from({ length: 9_999 }, (_, at) => at + 10)));
    const { reason, missing } = await told;
    assert.deepEqual([reason, missing], ["CONSUMER_SLOW", 2]);
    await heard.reaches(2);
    assert.equal((await iterator.next()).value.length, 10_000);
  });

  test("it ends with the subscription, and the subscription with it", async () => {
    const { gateway, peer } = await watching();
    const subscription = gateway.trades(TOPIC);
    peer.say(trades("1-1", 1));
    for await (const some of subscription) {
      assert.equal(some[0].id, "1");
      break;
    }
    assert.equal(subscription.state, "ended");
    for await (const _ of subscription) assert.fail("it is over");
  });

  test("it throws what the gateway refused with", async () => {
    const gateway = server.connect();
    const subscription = gateway.trades(TOPIC);
    const next = subscription[Symbol.asyncIterator]().next();
    const peer = await server.greeted();
    const { id } = await peer.heard("subscribe");
    peer.say({ type: "error", id, index: 0, code: "BAD_SYMBOL", message: "no such symbol", retryable: false });
    await assert.rejects(next, { code: "BAD_SYMBOL" });
  });

  test("a coalescing handler is called once with all that came", async () => {
    const { gateway, peer, heard } = await watching();
    const joined = new Heard();
    gateway.trades(TOPIC, joined.put, { coalesce: 30 });
    peer.say(trades("1-1", 1), trades("1-2", 2), trades("1-3", 3));
    await heard.reaches(3);
    assert.equal(joined.all.length, 0);
    await joined.reaches(1);
    assert.deepEqual(joined.ids, [1, 2, 3]);
    assert.equal(joined.all[0].update.cursor, "1-3");
  });

  test("a handler that throws ends nothing, and is heard of", async (t) => {
    const { setTimeout } = globalThis;
    const thrown = new Promise((resolve) => {
      const later = (work, delay) => (delay === undefined ? resolve(work) : setTimeout(work, delay));
      t.mock.method(globalThis, "setTimeout", later);
    });
    const { gateway, peer, heard } = await watching();
    gateway.trades(TOPIC, () => {
      throw new Error("of the caller");
    });
    peer.say(trades("1-1", 1));
    assert.throws(await thrown, /of the caller/);
    await heard.reaches(1);
  });

  test("a closed gateway calls nobody, and keeps nobody waiting", async () => {
    const { gateway, peer, subscription } = await watching();
    const next = subscription[Symbol.asyncIterator]().next();
    gateway.close();
    assert.deepEqual(await next, { value: null, done: true });
    await peer.closed;
    assert.equal(gateway.status, "closed");
  });
});

describe("the page", () => {
  class Page extends EventTarget {
    hidden = false;
    turn(hidden) {
      this.hidden = hidden;
      this.dispatchEvent(new Event("visibilitychange"));
    }
  }

  test("a hidden one is sent nothing, also on a new connection, until it is seen again", async (t) => {
    const page = (globalThis.document = new Page());
    t.after(() => delete globalThis.document);
    const { peer } = await watching({}, { pauseHidden: 5 });
    page.turn(true);
    await peer.heard("pause");
    peer.socket.terminate();
    const again = await server.greeted();
    await again.accept();
    await again.heard("pause");
    page.turn(false);
    await again.heard("resume");
  });

  test("one that is hidden for a moment is not", async (t) => {
    const page = (globalThis.document = new Page());
    t.after(() => delete globalThis.document);
    const { gateway, peer } = await watching({}, { pauseHidden: 1_000 });
    page.turn(true);
    page.turn(false);
    gateway.orderBook(TOPIC);
    await peer.heard("subscribe");
  });
});

test("a question to a gateway that is away is an error like any other", async () => {
  const gateway = server.connect();
  const { url } = server;
  server.sockets.close();
  await assert.rejects(gateway.fetch("fetchMarkets"), { name: "GatewayError", code: "NO_CONNECTION", retryable: true }, url);
});

test("latency and the gateway's clock are measured", async () => {
  const gateway = server.connect();
  const peer = await server.arrival();
  peer.onping = ({ id, t }) => peer.say({ type: "pong", id, t, rx: t + 60_000, tx: t + 60_000 });
  await peer.heard("hello");
  peer.say(HELLO);
  const latency = await event(gateway, "latency");
  assert.ok(latency >= 0 && latency < 1_000);
  assert.ok(Math.abs(gateway.clockOffset - 60_000) < 1_000);
});
