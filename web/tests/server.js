/** A gateway that says what a test tells it to: real sockets on a free port, and no opinion of its own. */
import { once } from "node:events";
import { WebSocket, WebSocketServer } from "ws";

import { connect } from "../client.js";

export const TOPIC = { exchange: "binance", symbol: "BTC/USDT:USDT" };
export const HELLO = { type: "hello", protocol: 1, heartbeatMs: 15_000, limits: { topicsPerBatch: 100 } };

export class Server {
  #arrivals = new Inbox();
  #clients = [];

  static async start() {
    const server = new Server();
    server.sockets = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    server.sockets.on("connection", (socket) => server.#arrivals.put(new Peer(socket)));
    await once(server.sockets, "listening");
    server.url = `ws://127.0.0.1:${server.sockets.address().port}/v1/ws`;
    return server;
  }

  /** A client of this server; closed with it. */
  connect(options = {}) {
    const client = connect(this.url, { WebSocket, ...options });
    this.#clients.push(client);
    return client;
  }

  /** The next connection that comes. */
  async arrival() {
    return this.#arrivals.next();
  }

  /** The next one, greeted: by what it says then, its subscriptions are known. */
  async greeted(hello = HELLO) {
    const peer = await this.arrival();
    peer.hello = await peer.heard("hello");
    peer.say(hello);
    return peer;
  }

  stop() {
    for (const client of this.#clients) client.close();
    for (const socket of this.sockets.clients) socket.terminate();
    this.sockets.close();
  }
}

/** One connection, seen from the server. */
export class Peer {
  #commands = new Inbox();

  constructor(socket) {
    this.socket = socket;
    this.closed = once(socket, "close");
    socket.on("message", (data) => {
      const command = JSON.parse(data);
      if (command.op === "ping") this.onping?.(command);
      else this.#commands.put(command);
    });
  }

  onping = ({ id, t }) => this.say({ type: "pong", id, t, rx: Date.now(), tx: Date.now() });

  say(...frames) {
    for (const frame of frames) this.socket.send(JSON.stringify(frame));
  }

  /** The next command, which must be this one; pings are answered and passed over. */
  async heard(op) {
    const command = await this.#commands.next();
    if (command.op !== op) throw new Error(`${op} was expected, not ${JSON.stringify(command)}`);
    return command;
  }

  /** Acknowledge the next subscribe command: each topic as it was asked for, with its default params. */
  async accept(more = {}) {
    const { id, topics } = await this.heard("subscribe");
    topics.forEach(({ channel, since, ...topic }, index) =>
      this.say({ type: "subscribed", id, index, channel, topic: canonical(topic), state: "live", ...resumed(since), ...more }),
    );
    this.say({ type: "batch", id, ok: topics.length, failed: 0 });
    return topics;
  }
}

class Inbox {
  #held = [];
  #waiting = [];

  put(one) {
    const resolve = this.#waiting.shift();
    if (resolve) resolve(one);
    else this.#held.push(one);
  }

  async next() {
    return this.#held.length ? this.#held.shift() : new Promise((resolve) => this.#waiting.push(resolve));
  }
}

function canonical({ exchange, symbol, params }) {
  return { exchange, symbol: symbol === "BTCUSDT" ? "BTC/USDT:USDT" : symbol, params: params ?? {} };
}

function resumed(since) {
  return since ? { resume: { status: "recovered", from: since, to: since, count: 0 } } : {};
}

/** A frame of trades whose ids are given; so are their times. */
export function trades(cursor, ...ids) {
  return data("trades", cursor, ids.map((id) => ({ id: String(id), timestamp: id, price: 1, amount: 1 })));
}

export function data(channel, cursor, data, more = {}, params = {}) {
  return { type: channel, channel, topic: { ...TOPIC, params }, cursor, ts: { ex: 1, rx: 2, tx: 3 }, ...more, data };
}

/** The next event of that type. */
export async function event(emitter, type) {
  return new Promise((resolve) => {
    const off = emitter.on(type, (detail) => {
      off();
      resolve(detail);
    });
  });
}

/** What comes, and a way to wait until it is so much. */
export class Heard {
  all = [];
  #waiting = [];

  put = (value, update) => {
    this.all.push({ value, update });
    this.#waiting = this.#waiting.filter(({ count, resolve }) => this.all.length < count || resolve());
  };

  async reaches(count) {
    if (this.all.length < count) await new Promise((resolve) => this.#waiting.push({ count, resolve }));
    return this.all;
  }

  get ids() {
    return this.all.flatMap(({ value }) => value.map((trade) => Number(trade.id)));
  }
}
