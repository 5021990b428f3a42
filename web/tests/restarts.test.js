/** The client while the gateway's process is killed, stopped and frozen: it comes back, and says what it cost. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { describe, test } from "node:test";
import { WebSocket } from "ws";

import { connect } from "../client.js";
import { Process } from "./process.js";
import { Latest, reaches, Tape, Venues } from "./venues.js";

const { START_GATEWAY, SIMULATOR_URL } = process.env;
const skip = START_GATEWAY && SIMULATOR_URL ? false : "START_GATEWAY and SIMULATOR_URL name no gateway to start";

const BTC = { exchange: "binance", symbol: "BTC/USDT:USDT" };

describe("a gateway's process", { skip, timeout: 60_000, concurrency: true }, () => {
  const venues = new Venues(SIMULATOR_URL);

  /** A gateway, and a client that has every channel of one market live. */
  async function watching(t) {
    const gateway = await Process.start();
    const client = connect(`http://127.0.0.1:${gateway.port}`, { WebSocket });
    t.after(async () => {
      client.close();
      await gateway.end("SIGKILL");
    });
    const tape = new Tape((handler) => client.trades(BTC, handler));
    const book = new Latest();
    const series = new Latest();
    const watched = [
      tape.subscription,
      client.orderBook({ ...BTC, params: { mode: "delta" } }, book.put),
      client.candles(BTC, series.put, { rewind: 50 }),
    ];
    await tape.more(3);
    await Promise.all(watched.map((one) => reaches(one, "live")));
    return { gateway, client, tape, book, series, watched };
  }

  /** It is as if nothing had been, but for what was said. */
  async function isWhole({ client, tape, book, series, watched }) {
    await tape.caughtUp(venues);
    await Promise.all(watched.map((one) => reaches(one, "live")));
    assert.deepEqual([client.status, client.reconnects], ["open", 1]);
    assert.ok(!tape.reasons.includes("UNDECLARED"));
    assert.ok(tape.declared === null || tape.missing.length <= tape.declared, `${tape.missing.length} of ${tape.declared}`);
    const known = series.value.map(({ timestamp }) => timestamp);
    assert.deepEqual(known, [...new Set(known)].sort((a, b) => a - b));
    const updates = book.updates;
    await book.until(() => book.updates > updates);
  }

  for (const [what, signal] of [["killed", "SIGKILL"], ["told to stop", "SIGTERM"]]) {
    test(`one that is ${what} and started again is gone on with, and the loss is declared`, async (t) => {
      const all = await watching(t);
      const offline = Promise.all(all.watched.map((one) => reaches(one, "offline")));
      await all.gateway.end(signal);
      await offline;
      await all.gateway.begin();
      await isWhole(all);
      assert.deepEqual(all.tape.reasons, ["EPOCH_CHANGED"]); // no Redis: what was lost between nobody can know
      assert.deepEqual(all.tape.twice, []);
      assert.equal(all.tape.ids[0], Math.min(...all.tape.ids)); // no older one comes after a newer one
    });
  }

  test("a client that slept while the gateway gave it up goes on when it wakes, with nothing lost", async (t) => {
    const gateway = await Process.start({ GATEWAY_LIMITS__PING_INTERVAL: "1", GATEWAY_LIMITS__PING_TIMEOUT: "1" });
    const sleeper = spawn(process.execPath, [new URL("sleeper.js", import.meta.url).pathname, String(gateway.port)], { stdio: ["ignore", "pipe", "inherit"] });
    t.after(async () => {
      sleeper.kill("SIGKILL");
      await gateway.end("SIGKILL");
    });
    const said = createInterface({ input: sleeper.stdout })[Symbol.asyncIterator]();
    const next = async (wanted) => {
      for (;;) {
        const one = JSON.parse((await said.next()).value);
        if (wanted(one)) return one;
      }
    };
    await next(({ ids }) => ids.length > 10);
    sleeper.kill("SIGSTOP");
    const slept = new Promise((resolve) => setTimeout(resolve, 10_500)); // no shorter one is a sleep to the client
    await gateway.hasNoClients();
    await slept;
    sleeper.kill("SIGCONT");
    const woken = await next(({ reconnects, state }) => reconnects === 1 && state === "live");
    const { ids, gaps } = await next((one) => one.ids.length > woken.ids.length + 10);
    assert.deepEqual(gaps, []);
    assert.deepEqual(ids, Array.from(ids, (_, i) => ids[0] + i));
  });

  test("one that freezes is left, and gone on with without a loss when it thaws", async (t) => {
    const all = await watching(t);
    const offline = reaches(all.tape.subscription, "offline");
    all.gateway.child.kill("SIGSTOP");
    await offline; // by its heartbeat of one second
    all.gateway.child.kill("SIGCONT");
    await isWhole(all);
    assert.deepEqual([all.tape.gaps, all.tape.missing, all.tape.twice], [[], [], []]);
  });
});
