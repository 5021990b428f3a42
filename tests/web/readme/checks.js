/** What each block of the guide must have done. `before`: what its surroundings have that Node has not. */
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";

const BTC = { exchange: "binance", symbol: "BTC/USDT:USDT" };
const FIRST = [
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (buy|sell) \d+(\.\d+)? \d+(\.\d+)?$/,
  /^bid \[ \d+(\.\d+)?, \d+(\.\d+)? \] ask \[ \d+(\.\d+)?, \d+(\.\d+)? \]$/,
  /^300 candles, close \d+(\.\d+)?$/,
];

/** Ids of the first number on, one after the other. */
const consecutive = (ids) => ids.every((id, i) => i === 0 || id === ids[i - 1] + 1);

/** A second client, so that somebody watches the topic already. */
async function warm({ until }) {
  const { connect } = await import("market-gateway-client");
  const trades = connect(process.env.GATEWAY_URL).trades(BTC);
  await until(() => trades.value);
}

/** Ids of new trades that were printed, and the last one of the past. */
async function joinsExactly({ lines, until, line }) {
  const past = await line(/^past up to \d+/);
  const ids = () => lines.filter((one) => one.startsWith("new ")).flatMap((one) => one.split(" ").slice(1).filter(Boolean).map(Number));
  await until(() => ids().length > 5);
  const after = ids().filter((id) => id > Number(past.split(" ")[3]));
  assert.equal(after[0], Number(past.split(" ")[3]) + 1);
  assert.ok(consecutive(after), after.join(" "));
  return past;
}

export const checks = {
  page: {
    before() {
      const element = { textContent: "…" };
      globalThis.document = Object.assign(new EventTarget(), { hidden: false, querySelector: () => element });
    },
    check: ({ until }) => until(() => Number(document.querySelector("#price").textContent) > 0),
  },

  first: {
    check: ({ line }) => Promise.all(FIRST.map(line)),
  },

  "first-output": {
    check({ text }) {
      const shown = text.trim().split("\n");
      assert.equal(shown.length, FIRST.length);
      shown.forEach((one, i) => assert.match(one, FIRST[i]));
    },
  },

  catalogue: {
    check({ lines }) {
      assert.ok(lines.includes("BTC/USDT:USDT perp 0.1 0.001"), lines.join("\n"));
      assert.match(lines.at(-1), /binance: 1m,3m/);
    },
  },

  "recipe-a": {
    async check({ lines, line, until }) {
      await Promise.all([line(/^trades \d+$/), line(/^candles \d+$/), line(/^levels 50$/)]);
      const firstOf = (word) => lines.find((one) => one.startsWith(word));
      assert.deepEqual([firstOf("trades"), firstOf("candles")], ["trades 100", "candles 500"]);
      await until(() => lines.filter((one) => one.startsWith("trades")).length > 2);
    },
  },

  "recipe-b": {
    before: warm,
    async check(context) {
      assert.match(await joinsExactly(context), /^past up to \d+ \d+-\d+$/);
    },
  },

  // The same where nobody watches yet: the symbol is another one.
  "recipe-b-cold": {
    async check(context) {
      assert.match(await joinsExactly(context), /^past up to \d+ null$/);
    },
  },

  bare: {
    async check({ base, module, until, sockets, control, ask }) {
      const seen = follow(module, base);
      await until(() => seen.ids.length > 55 && seen.book && seen.rows);

      sockets.at(-1).terminate(); // comes back, and nothing is missing
      await until(() => sockets.length === 2 && sockets[1].sent.length === 2);
      assert.ok(sockets[1].sent[1].topics[0].since);
      const had = seen.ids.length;
      await until(() => seen.ids.length > had + 10);
      assert.ok(consecutive(seen.ids), seen.ids.join(" "));

      sockets[1].loses = (frame) => frame.kind === "delta"; // notices, and asks for the whole
      await until(() => sockets[1].sent.some(({ op }) => op === "snapshot"));
      const came = seen.books;
      await until(() => seen.books > came);
      await control("freeze", { frozen: true });
      try {
        const book = await ask("fetchOrderBook", { ...BTC, limit: 5 });
        await until(() => seen.book.nonce === book.nonce);
        const numbers = (side) => side.map((level) => level.map(Number));
        assert.deepEqual([numbers(seen.book.bids), numbers(seen.book.asks)], [book.bids, book.asks]);
        const candles = await ask("fetchOHLCV", { ...BTC, limit: 50 });
        await until(() => seen.rows.at(-1)[5] === candles.at(-1)[5]);
        assert.deepEqual(seen.rows.slice(-50), candles);
      } finally {
        await control("freeze", { frozen: false });
      }
      seen.stop();
      assert.deepEqual(seen.errors, []);
    },
  },

  "bare-restart": {
    async check({ module, until, ask }) {
      const { Process } = await import("./process.js");
      const gateway = await Process.start();
      try {
        const seen = follow(module, `http://127.0.0.1:${gateway.port}`);
        await until(() => seen.ids.length > 60 && seen.book && seen.rows);
        await gateway.end("SIGKILL");
        await until(() => seen.states.includes("offline"));
        const had = seen.ids.length;
        await gateway.begin();
        seen.book = null;
        await until(() => seen.ids.length > had + 10 && seen.book);
        assert.ok(seen.gaps.includes("EPOCH_CHANGED"));
        assert.ok(consecutive(seen.ids), seen.ids.join(" ")); // nothing twice, and nothing older
        seen.stop();
      } finally {
        await gateway.end("SIGKILL");
      }
    },
  },

  "bare-use": {
    check: ({ line }) => Promise.all([/^trades \d+$/, /^book \[ '[\d.]+', '[\d.]+' \]$/, /^candles \d+$/].map(line)),
  },

  slow: {
    async check({ lines, line, until }) {
      await Promise.all([/^draw \d/, /^joined \d/, /^series \d/].map(line));
      const joined = () => lines.filter((one) => one.startsWith("joined")).length;
      const before = joined();
      await until(() => joined() > before); // it was paused, and resumed
    },
  },

  states: {
    async check({ line, control }) {
      await Promise.all([/^connection open/, /^badge live/, /^refused BAD_SYMBOL no such symbol \[.*'BTC\/USDT:USDT'/s].map(line));
      await control("faults", { venue: "binance", kind: "reset" });
      await line(/^badge the exchange is away/);
    },
  },

  "electron-main": {
    async check({ until }) {
      const { app, ipcMain, powerMonitor, windows } = await import("electron");
      assert.equal(windows.length, 1);
      assert.match(windows[0].options.webPreferences.preload, /preload\.cjs$/);
      assert.equal(windows[0].file, "index.html");
      const page = new (class extends EventEmitter {
        id = 7;
        got = [];
        isDestroyed = () => false;
        send = (what, value) => this.got.push([what, value]);
        trades = (id) => this.got.filter(([what]) => what === `trades ${id}`).flatMap(([, trades]) => trades);
      })();
      ipcMain.emit("watch", { sender: page }, 1, BTC);
      ipcMain.emit("watch", { sender: page }, 2, BTC);
      await until(() => page.trades(1).length > 110 && page.trades(2).length > 10);
      assert.ok(page.got.some(([what, state]) => what === "state 1" && state === "live"));
      ipcMain.emit("leave", { sender: page }, 1);
      const count = page.trades(1).length;
      powerMonitor.emit("suspend");
      powerMonitor.emit("resume");
      const other = page.trades(2).length;
      await until(() => page.trades(2).length > other + 5);
      const ids = page.trades(2).map(({ id }) => Number(id));
      assert.ok(consecutive(ids), ids.join(" "));
      assert.equal(page.trades(1).length, count);
      page.emit("destroyed");
      app.emit("will-quit");
    },
  },

  "electron-preload": {
    async check() {
      const { exposed, ipcRenderer } = await import("electron");
      const [sent, heard] = [[], []];
      for (const what of ["watch", "leave"]) ipcRenderer.sent.on(what, (...words) => sent.push([what, ...words]));
      const stop = exposed.market.watch(BTC, (trades) => heard.push(trades), (state) => heard.push(state));
      ipcRenderer.emit("trades 1", {}, [1]);
      ipcRenderer.emit("state 1", {}, "live");
      ipcRenderer.emit("trades 2", {}, [2]); // another one's
      stop();
      ipcRenderer.emit("trades 1", {}, [3]);
      assert.deepEqual(sent, [["watch", 1, BTC], ["leave", 1]]);
      assert.deepEqual(heard, [[1], "live"]);
    },
  },

  react: {
    async check({ base, module, until, sockets }) {
      const { createElement } = await import("react");
      const { create } = await import("react-test-renderer");
      const commands = (op) => sockets.flatMap(({ sent }) => sent.filter((one) => one.op === op));
      const shown = (topic) => createElement(module.GatewayProvider, { url: base }, topic && createElement(module.BestPrices, { topic }));
      const page = create(shown({ ...BTC }));
      await until(() => /^[\d.]+ \/ [\d.]+$/.test(page.toJSON()?.children?.join("")));
      await until(() => page.toJSON().props.className === "live");
      page.update(shown({ ...BTC })); // another object of the same words
      page.update(shown({ exchange: "bybit", symbol: "BTC/USDT:USDT" }));
      await until(() => commands("unsubscribe").length === 1);
      await until(() => /^[\d.]+ \/ [\d.]+$/.test(page.toJSON()?.children?.join("")));
      assert.equal(commands("subscribe").length, 2);
      page.update(shown(null));
      await until(() => commands("unsubscribe").length === 2);
      page.unmount();
      await until(() => sockets.every(({ readyState }) => readyState >= 2));
      assert.equal(sockets.length, 1);
    },
  },

  typescript: {
    check: ({ line }) => Promise.all([/^\d+-\d+ (null|-?\d+) (up|down)$/, /^INVALID_TOPIC \[/, /^last (true|false)$/].map(line)),
  },

  package: {
    check: ({ line }) => line(/^\d+ \d+(\.\d+)?$/),
  },

  node: {
    check: ({ line }) => line(/^\d+ trades of BTC\/USDC:USDC$/),
  },

  "shared-worker": {
    before() {
      // worker.js runs beside the page here, with real ports between the two.
      globalThis.SharedWorkerGlobalScope = class {};
      globalThis.SharedWorker = class {
        constructor(script) {
          const { port1, port2 } = new MessageChannel();
          this.port = port1;
          import(script.href).then(() => globalThis.onconnect({ ports: [port2] }));
        }
      };
    },
    async check({ line, sockets }) {
      await line(/^from the worker \d+$/);
      assert.equal(sockets.length, 1);
    },
  },

  "own-test": {
    check({ lines }) {
      assert.deepEqual(lines, ["healed"]);
    },
  },

  ccxt: {
    async check({ line }) {
      await line(/^BTC\/USDT (buy|sell) \d/);
      await line(/^\[\s+\d{13},\s+\d/);
    },
  },
};

/** What the client of the guide hands on. */
function follow(module, base) {
  const seen = { ids: [], gaps: [], states: [], errors: [], book: null, books: 0, rows: null };
  const topics = [
    { channel: "trades", ...BTC, rewind: 50 },
    { channel: "orderbook", ...BTC, params: { levels: 5, mode: "delta" } },
    { channel: "ohlcv", ...BTC },
  ];
  seen.stop = module.watch(`${base.replace("http", "ws")}/v1/ws`, topics, {
    trades: (trades) => seen.ids.push(...trades.map(({ id }) => Number(id))),
    book: (book) => (seen.book = book) && (seen.books += 1),
    candles: (rows) => (seen.rows = rows),
    gap: ({ reason }) => seen.gaps.push(reason),
    state: (state) => seen.states.push(state),
    error: ({ code }) => seen.errors.push(code),
  });
  return seen;
}
