/**
 * A client of market-gateway: what it offers is in client.d.ts, what it speaks in docs/protocol.md.
 *
 * A `Subscription` is what one watcher holds. A `Core` has the connection (`Link`) and a `Stream` for each topic. Between
 * the two only plain objects pass, so that a core may live in a worker (worker.js): then `Port` stands for it.
 */

/** @import * as Api from "./client.d.ts" */
/** @import { Channel, Facts, Frame, Join, Level, Listen, Reader, Tell, Update, Watcher } from "./internals.d.ts" */

// Milliseconds.
const HIDDEN_AFTER = 10_000;
const TICK = 1_000;
const SLEPT = 10_000; // between two ticks: somebody did
const PING_EVERY = 15_000;
const ANSWER_WITHIN = 5_000;
const OPEN_WITHIN = 10_000;
const HEARTBEAT = 15_000; // until the gateway has said its own
const FIRST_PAUSE = 1_000; // at the most: a random part of it
const LONGEST_PAUSE = 30_000;
const STEADY = 10_000; // what lasted so long was no failed attempt
const ASK_AGAIN = 1_500; // for a snapshot: the gateway gives one a second

const REWIND = { trades: 0, orderbook: 0, ohlcv: 300 };
const BATCH = 100;
const ROWS_HELD = 10_000; // trades for a slow consumer
const CANDLES_HELD = 20_000;
const CHECKSUM_LEVELS = 10;
const STALE_RESUMES = ["partial", "lost", "epochChanged", "ahead"];

/** @type {Facts} */
const NOTHING = { status: "connecting", latency: null, clockOffset: null, lastMessageAt: null, reconnects: 0, hello: null };

/** @type {typeof Api.connect} */
export function connect(url, options = {}) {
  return new Gateway(url, options);
}

export class GatewayError extends Error {
  /** @param {Frame} body */
  constructor(body) {
    super(body.message);
    Object.assign(this, body);
    this.name = "GatewayError";
  }
}

class Emitter {
  /** @type {Map<string, Set<(event: any) => void>>} */
  #listeners = new Map();

  /** @type {Listen} */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** @type {Tell} */
  emit(type, event) {
    this.#listeners.get(type)?.forEach((listener) => call(listener, event));
  }
}

/** @implements {Api.Gateway} */
class Gateway extends Emitter {
  /** @type {Core | Port} */
  #core;
  /** @type {Set<Subscription>} */
  #subscriptions = new Set();
  #unhide = () => {};

  /** @param {string | URL} url @param {Api.Options} options */
  constructor(url, options) {
    super();
    this.url = address(url);
    /** @type {Tell} */
    const tell = (type, event) => this.emit(type, type === "error" ? new GatewayError(event) : event);
    this.#core = options.worker ? new Port(this.url, options, tell) : new Core(this.url, options, tell);
    if (globalThis.document && options.pauseHidden !== false) this.#watchPage(options.pauseHidden ?? HIDDEN_AFTER);
  }

  get status() {
    return this.#core.facts.status;
  }
  get latency() {
    return this.#core.facts.latency;
  }
  get clockOffset() {
    return this.#core.facts.clockOffset;
  }
  get lastMessageAt() {
    return this.#core.facts.lastMessageAt;
  }
  get reconnects() {
    return this.#core.facts.reconnects;
  }
  get hello() {
    return this.#core.facts.hello;
  }

  /** @type {Api.Gateway["trades"]} */
  trades(topic, handler, how) {
    return this.#watch("trades", topic, handler, how);
  }

  /** @type {Api.Gateway["orderBook"]} */
  orderBook(topic, handler, how) {
    return this.#watch("orderbook", topic, handler, how);
  }

  /** @type {Api.Gateway["candles"]} */
  candles(topic, handler, how) {
    return this.#watch("ohlcv", topic, handler, how);
  }

  /** @type {Api.Gateway["fetch"]} */
  async fetch(method, body) {
    const asked = method.startsWith("fetch") ? { method: "POST", body: JSON.stringify(body ?? {}) } : {};
    const answer = await fetch(new URL(method, this.url.replace(/^ws/, "http")), asked).catch((error) => {
      throw new GatewayError(away(error));
    });
    const data = await answer.json().catch(() => ({ code: "INTERNAL", message: `HTTP ${answer.status}` }));
    if (!answer.ok) throw new GatewayError(data);
    const age = answer.headers.get("x-data-age-ms");
    return {
      data,
      cursor: answer.headers.get("x-cursor"),
      state: /** @type {any} */ (answer.headers.get("x-topic-state")),
      ageMs: age === null ? null : Number(age),
    };
  }

  pause() {
    this.#core.pause();
  }

  resume() {
    this.#core.resume();
  }

  close() {
    this.#unhide();
    this.#core.close();
    for (const one of [...this.#subscriptions]) one.unsubscribe();
  }

  /** @param {Channel} channel @param {Api.Topic} topic @param {Api.Handler<any>} [handler] @param {Api.How} [how] */
  #watch(channel, topic, handler, how = {}) {
    const one = new Subscription(channel, topic, handler, how, () => {
      this.#subscriptions.delete(one);
      this.#core.leave(one);
    });
    this.#subscriptions.add(one);
    this.#core.join(one);
    return one;
  }

  /** @param {number} after */
  #watchPage(after) {
    let timer = 0;
    const look = () => {
      clearTimeout(timer);
      if (document.hidden) timer = /** @type {any} */ (setTimeout(() => this.pause(), after));
      else this.resume();
    };
    document.addEventListener("visibilitychange", look);
    this.#unhide = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }
}

// -- what a watcher holds

/** @implements {Api.Subscription<any>} */
class Subscription extends Emitter {
  state = "connecting";
  /** @type {any} */
  value = null;
  /** @type {string | null} */
  cursor = null;
  /** @type {number | null} */
  lastMessageAt = null;
  #handler;
  #leave;
  /** @type {Update | null} */
  #last = null;
  /** @type {Update | null} waits for its turn */
  #held = null;
  /** @type {Set<Reader>} */
  #readers = new Set();
  /** @type {GatewayError | null} the last one */
  #error = null;

  /**
   * @param {Channel} channel @param {Api.Topic} topic @param {Api.Handler<any> | undefined} handler
   * @param {Api.How} how @param {() => void} leave
   */
  constructor(channel, topic, handler, how, leave) {
    super();
    this.channel = channel;
    this.topic = topic;
    this.how = how;
    this.#handler = handler;
    this.#leave = leave;
  }

  unsubscribe() {
    this.tell("state", { state: "ended" });
  }

  /** @param {Update} update */
  take(update) {
    if (this.#over) return;
    this.cursor = update.cursor;
    this.lastMessageAt = Date.now();
    this.#last = update;
    for (const reader of this.#readers) reader.put(update);
    const { coalesce } = this.how;
    if (coalesce === undefined) {
      this.#hand(update);
      return;
    }
    const waits = this.#held !== null;
    this.#held = this.#join(this.#held, update);
    if (!waits) later(coalesce, () => this.#over || this.#hand(this.#taken()));
  }

  /** @type {Tell} */
  tell(type, event) {
    if (this.#over) return;
    if (type === "state") {
      this.state = event.state;
      this.topic = event.topic ?? this.topic;
    }
    if (type === "error") event = this.#error = new GatewayError(event);
    this.emit(type, event);
    if (!this.#over) return;
    this.#leave();
    for (const reader of this.#readers) reader.end();
  }

  /** @returns {AsyncIterator<any>} */
  [Symbol.asyncIterator]() {
    /** @type {Update | null} */
    let held = this.channel === "trades" ? null : this.#last;
    let wake = () => {};
    /** @type {Reader} */
    const reader = {
      put: (update) => {
        held = this.#join(held, update);
        wake();
      },
      end: () => wake(),
    };
    this.#readers.add(reader);
    return {
      next: async () => {
        while (held === null) {
          if (this.state === "failed") throw this.#error;
          if (this.#over) return { value: null, done: true };
          await new Promise((resolve) => (wake = () => resolve(null)));
        }
        const { value } = held;
        held = null;
        return { value, done: false };
      },
      return: async () => {
        this.#readers.delete(reader);
        if (!this.#handler && !this.#readers.size) this.unsubscribe();
        return { value: null, done: true };
      },
    };
  }

  get #over() {
    return this.state === "ended" || this.state === "failed";
  }

  #taken() {
    const held = /** @type {Update} */ (this.#held);
    this.#held = null;
    return held;
  }

  /** @param {Update} update */
  #hand(update) {
    this.value = update.value;
    if (this.#handler) call(this.#handler, update.value, update);
  }

  /** @type {Join} */
  #join(held, update) {
    if (held === null || this.channel === "orderbook") return update;
    if (this.channel === "ohlcv") {
      const changed = upserted(held.changed ?? [], update.changed ?? []);
      return { ...update, changed, repair: held.repair || update.repair };
    }
    const rows = held.value.concat(update.value);
    const missing = rows.length - ROWS_HELD;
    if (missing > 0) this.tell("gap", gap(this, "CONSUMER_SLOW", held.cursor, update.cursor, missing));
    return { ...update, value: missing > 0 ? rows.slice(missing) : rows };
  }
}

// -- one topic

class Stream {
  /** @type {Set<Watcher>} */
  watchers = new Set();
  /** @type {Link | null} whose books count */
  link = null;
  asked = false; // and not answered yet
  state = "connecting";
  /** @type {string | null} */
  cursor = null;
  brokenAt = 0; // when a whole book was asked for; 0: it is sound
  /** @type {Update | null} */
  current = null;
  /** @type {string | null} where a declared loss ends: at the next frame, or before it */
  #covered = null;
  /** @type {Api.Trade[]} the newest, for who comes later */
  #kept = [];
  #newest = 0; // ms
  #seen = new Set(); // ids of that millisecond
  #floor = 0; // what is older is of an epoch before
  #book = new Book();

  /** @param {Watcher} watcher who is the first */
  constructor({ channel, topic, how }) {
    this.channel = channel;
    this.name = nameOf(channel, topic);
    this.topic = topic;
    this.since = how.since;
    this.rewind = how.rewind ?? REWIND[channel];
  }

  /** One item of a subscribe command: from where we are, or from the beginning. */
  get request() {
    const since = this.channel === "orderbook" ? undefined : (this.cursor ?? this.since);
    const how = since ? { since } : this.rewind ? { rewind: this.rewind } : {};
    return { channel: this.channel, ...this.topic, ...how };
  }

  /** Forget where we are: what comes next is the beginning. */
  restart() {
    this.cursor = this.#covered = null;
  }

  /** @param {Watcher} watcher */
  join(watcher) {
    this.watchers.add(watcher);
    watcher.tell("state", { state: this.state, topic: this.topic });
    if (!this.current) return;
    const rewind = watcher.how.rewind ?? REWIND[this.channel];
    if (this.channel !== "trades") watcher.take({ ...this.current, changed: this.current.changed && this.current.value });
    else if (rewind && this.#kept.length) watcher.take({ ...this.current, value: this.#kept.slice(-rewind) });
  }

  /** @type {Tell} */
  tell(type, event) {
    if (type === "state") this.state = event.state;
    for (const watcher of [...this.watchers]) watcher.tell(type, event);
  }

  /**
   * Data, or a gap of the feed. False: a whole book is needed.
   * @param {Frame} frame @param {(gap: Frame) => void} lost told of what is missing
   */
  take(frame, lost) {
    const known = this.cursor;
    const steps = known ? behind(known, frame.cursor) : 1;
    if (steps < (this.channel === "orderbook" ? 0 : 1)) return true; // had it
    if (this.channel === "orderbook") {
      if (!this.#book.take(frame, known, this.topic.params?.levels)) return false;
      if (this.brokenAt) this.tell("state", { state: this.state });
      this.brokenAt = 0;
      this.#publish(frame, { value: this.#book.value(frame) });
      return true;
    }
    const declared = this.#covered && behind(this.#covered, frame.cursor) <= 1;
    if (known && steps > 1 && steps < Infinity && !declared) lost(gap(this, "UNDECLARED", known, frame.cursor, null));
    if (frame.type === "gap") {
      this.cursor = frame.cursor;
      lost(frame);
    } else if (this.channel === "trades") {
      if (!known || steps === Infinity) this.#floor = this.#newest;
      const value = this.#unseen(frame.data);
      this.#kept = this.rewind ? this.#kept.concat(value).slice(-this.rewind) : [];
      if (value.length) this.#publish(frame, { value });
      else this.cursor = frame.cursor;
    } else {
      const changed = candles(frame);
      const series = this.current?.value ?? [];
      const apart = !known && series.length && changed[0]?.timestamp > series.at(-1).timestamp;
      const value = upserted(apart ? [] : series, changed).slice(-CANDLES_HELD);
      this.#publish(frame, { value, changed, repair: frame.repair });
    }
    return true;
  }

  /** A new epoch may begin with trades that we had, or older ones. @param {Api.Trade[]} trades */
  #unseen(trades) {
    const fresh = trades.filter(({ id, timestamp }) => timestamp >= this.#floor && !this.#seen.has(id));
    for (const { id, timestamp } of fresh) {
      if (timestamp > this.#newest) this.#seen.clear();
      this.#newest = Math.max(this.#newest, timestamp);
      if (timestamp === this.#newest) this.#seen.add(id);
    }
    return fresh;
  }

  /** A loss of this client alone. @param {Frame} frame */
  skip(frame) {
    this.#covered = frame.to.cursor;
  }

  /** A whole book is asked for. */
  mend() {
    this.brokenAt = Date.now();
    for (const watcher of this.watchers) watcher.tell("state", { state: "resyncing" });
  }

  /** @param {Frame} frame @param {Pick<Update, "value" | "changed" | "repair">} what */
  #publish(frame, what) {
    this.cursor = frame.cursor;
    this.current = { ...what, cursor: frame.cursor, ts: frame.ts };
    for (const watcher of [...this.watchers]) watcher.take(this.current);
  }
}

/** A book by its changes (`mode: "delta"`); whole frames pass through. */
class Book {
  /** @type {{ bids: Level[], asks: Level[] }} best first */
  #sides = { bids: [], asks: [] };

  /** False: it does not fit what we have. @param {Frame} frame @param {string | null} known @param {any} levels */
  take(frame, known, levels) {
    if (!frame.kind) return true;
    if (frame.kind === "snapshot") this.#sides = { bids: [], asks: [] };
    else if (frame.prev !== known) return false;
    change(this.#sides.bids, frame.data.bids, -1, levels);
    change(this.#sides.asks, frame.data.asks, 1, levels);
    return frame.checksum === undefined || frame.checksum === this.#checksum(levels);
  }

  /** @param {Frame} frame @returns {Api.OrderBook} */
  value({ kind, data }) {
    if (!kind) return data;
    const { bids, asks } = this.#sides;
    return {
      ...data,
      bids: bids.map((level) => level.pair),
      asks: asks.map((level) => level.pair),
      decimals: { bids: bids.map((level) => level.text), asks: asks.map((level) => level.text) },
    };
  }

  /** @param {any} levels */
  #checksum(levels) {
    const words = [];
    for (let i = 0; i < Math.min(CHECKSUM_LEVELS, levels ?? CHECKSUM_LEVELS); i++) {
      for (const side of [this.#sides.bids, this.#sides.asks]) if (side[i]) words.push(...side[i].text);
    }
    return crc32(words.join(":"));
  }
}

/** 0 removes. @param {Level[]} side @param {[string, string][]} changes @param {number} up @param {number} levels */
function change(side, changes, up, levels) {
  for (const text of changes) {
    const /** @type {[number, number]} */ pair = [Number(text[0]), Number(text[1])];
    let low = 0;
    for (let high = side.length; low < high; ) {
      const middle = (low + high) >> 1;
      if ((side[middle].pair[0] - pair[0]) * up < 0) low = middle + 1;
      else high = middle;
    }
    const there = side[low]?.pair[0] === pair[0] ? 1 : 0;
    side.splice(low, there, ...(pair[1] ? [{ pair, text }] : []));
  }
  if (side.length > levels) side.length = levels;
}

// -- the connection

/** One websocket: what was asked on it, and what it carries. */
class Link {
  /** @type {Map<string, Stream>} by canonical topic */
  streams = new Map();
  /** @type {Map<number, Stream[]>} batches that are not answered in full */
  asked = new Map();
  open = false; // and the gateway has said hello
  begunAt = Date.now();
  heardAt = Date.now();
  pingedAt = 0;
  probedAt = 0; // 0: no answer is overdue
  #number = 0;

  /**
   * @param {WebSocket} socket @param {(frame: Frame) => void} received @param {(frame: Frame) => void} sent
   * @param {(code: number, reason: string) => void} lost
   */
  constructor(socket, received, sent, lost) {
    this.socket = socket;
    this.sent = sent;
    this.lost = lost;
    socket.onmessage = (event) => received(JSON.parse(event.data));
    socket.onclose = (event) => this.end(event.code, event.reason);
    socket.onerror = () => {}; // a close follows
  }

  /** @param {Frame} command */
  send(command) {
    if (this.socket.readyState !== 1) return;
    this.sent(command);
    this.socket.send(JSON.stringify(command));
  }

  /** @param {Stream[]} streams @param {number} most in one batch */
  subscribe(streams, most) {
    for (let at = 0; at < streams.length; at += most) {
      const batch = streams.slice(at, at + most);
      const id = ++this.#number;
      this.asked.set(id, batch);
      for (const stream of batch) stream.asked = true;
      this.send({ op: "subscribe", id, topics: batch.map((stream) => stream.request) });
    }
  }

  /** @param {Stream} stream */
  unsubscribe(stream) {
    const key = nameOf(stream.channel, stream.topic);
    if (this.streams.get(key) !== stream) return;
    this.streams.delete(key);
    this.send({ op: "unsubscribe", channel: stream.channel, ...stream.topic });
  }

  ping() {
    this.pingedAt = Date.now();
    this.send({ op: "ping", id: 0, t: this.pingedAt });
  }

  /** It is no more, or is to be no more. @param {number} code @param {string} reason */
  end(code, reason) {
    const { socket } = this;
    if (!socket.onclose) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
    this.lost(code, reason);
  }
}

/** For worker.js; not for you. */
export class Core {
  facts = { ...NOTHING };
  /** @type {Map<string, Stream>} by the first watcher's words */
  #streams = new Map();
  /** @type {Set<Stream>} to be asked for in this turn */
  #wanted = new Set();
  /** @type {Link | null} */
  #link = null;
  /** @type {Link | null} is to take over */
  #next = null;
  #attempt = 0;
  #paused = false;
  /** @type {any} */
  #retry = null;
  #tickedAt = Date.now();
  #url;
  #options;
  #tell;
  #hurry = () => this.#slept();

  /** @param {string} url @param {Api.Options} options @param {Tell} tell */
  constructor(url, options, tell) {
    this.#url = url;
    this.#options = options;
    this.#tell = tell;
    this.ticks = setInterval(() => this.#tick(), TICK);
    for (const type of ["online", "offline"]) globalThis.addEventListener?.(type, this.#hurry);
    this.#connect();
  }

  /** @param {Watcher} watcher */
  join(watcher) {
    const name = nameOf(watcher.channel, watcher.topic);
    const known = this.#streams.get(name);
    const stream = known ?? new Stream(watcher);
    stream.join(watcher);
    this.#streams.set(name, stream);
    if (!known) this.#want(stream);
  }

  /** @param {Watcher} watcher */
  leave(watcher) {
    for (const stream of this.#streams.values()) {
      if (stream.watchers.delete(watcher) && !stream.watchers.size && !stream.asked) this.#drop(stream);
    }
  }

  pause() {
    if (this.#paused) return;
    this.#paused = true;
    this.#link?.send({ op: "pause" });
  }

  resume() {
    if (!this.#paused) return;
    this.#paused = false;
    this.#link?.send({ op: "resume" });
    this.#slept(); // whoever was not looked at may have slept, too
  }

  close() {
    this.#finish("closed");
  }

  // -- topics

  /** Ask with all of this turn. @param {Stream} stream */
  #want(stream) {
    if (!this.#wanted.size) queueMicrotask(() => this.#ask());
    this.#wanted.add(stream);
  }

  #ask() {
    const wanted = [...this.#wanted].filter((stream) => this.#streams.get(stream.name) === stream);
    this.#wanted.clear();
    const link = this.#next?.open ? this.#next : this.#link;
    if (link?.open) link.subscribe(wanted, this.#batch);
  }

  get #batch() {
    return this.facts.hello?.limits?.topicsPerBatch ?? BATCH;
  }

  /** @param {Stream} stream */
  #drop(stream) {
    for (const [name, one] of this.#streams) if (one === stream) this.#streams.delete(name);
    for (const link of [this.#link, this.#next]) link?.unsubscribe(stream);
  }

  /** Begin it again. @param {Link} link @param {Stream} stream */
  #again(link, stream) {
    link.unsubscribe(stream);
    stream.restart();
    this.#want(stream);
  }

  /** @param {Link} link @param {Stream} stream @param {Frame} frame */
  #acknowledged(link, stream, frame) {
    stream.asked = false;
    const there = link.streams.get(nameOf(frame.channel, frame.topic));
    if (there && there !== stream) {
      // The same topic under another name.
      this.#streams.set(stream.name, there);
      for (const watcher of stream.watchers) there.join(watcher);
      return;
    }
    stream.topic = frame.topic;
    link.streams.set(nameOf(frame.channel, frame.topic), stream);
    if (!stream.watchers.size) {
      this.#drop(stream); // everybody left meanwhile
      return;
    }
    stream.link = link;
    const status = frame.resume?.status;
    if (frame.type === "subscribed" && (status === undefined || status === "ahead")) {
      if (status) this.#lose(stream, gap(stream, "EPOCH_CHANGED", frame.resume.from, frame.resume.to, null));
      stream.restart();
    }
    stream.tell("state", { state: frame.state, topic: frame.topic });
    if (stream.channel === "ohlcv" && STALE_RESUMES.includes(status)) this.#again(link, stream);
  }

  /** @param {Stream} stream @param {Frame} error */
  #refused(stream, error) {
    stream.asked = false;
    stream.tell("error", error);
    if (!error.retryable) {
      stream.tell("state", { state: "failed" });
      stream.watchers.clear();
      this.#drop(stream);
    } else {
      setTimeout(() => this.#want(stream), (error.retryAfterMs ?? ANSWER_WITHIN) * (1 + Math.random()));
    }
  }

  // -- frames

  /** @param {Link} link @param {Frame} frame */
  #received(link, frame) {
    link.heardAt = this.facts.lastMessageAt = Date.now();
    this.#tell("frame", { direction: "in", frame });
    const stream = frame.topic && link.streams.get(nameOf(frame.channel, frame.topic));
    const asked = frame.id && link.asked.get(frame.id)?.[frame.index];
    switch (frame.type) {
      case "trades":
      case "ohlcv":
      case "orderbook":
        if (stream) this.#data(link, stream, frame);
        break;
      case "gap":
        if (stream && frame.cursor) this.#data(link, stream, frame);
        else if (stream) {
          stream.skip(frame);
          this.#lose(stream, frame);
        }
        break;
      case "subscribed":
      case "alreadySubscribed":
        if (asked) this.#acknowledged(link, asked, frame);
        break;
      case "unsubscribed":
        if (stream?.watchers.size) this.#again(link, stream); // it was another one's, of the same topic
        break;
      case "batch":
        link.asked.delete(frame.id);
        this.#promote();
        break;
      case "status":
        if (frame.scope === "exchange") this.#tell("exchange", frame);
        else {
          this.#tell("topic", frame);
          stream?.tell("state", { state: frame.state, frame });
        }
        break;
      case "error":
        this.#tell("error", frame);
        if (asked) this.#refused(asked, frame);
        else if (stream && frame.code === "SUBSCRIBE_FAILED") this.#refused(stream, { ...frame, retryable: false });
        else stream?.tell("error", frame);
        break;
      case "hello":
        this.#greeted(link, frame);
        break;
      case "pong":
        link.probedAt = 0;
        this.#measured(frame);
        break;
      case "goaway":
        this.#tell("goaway", frame);
        setTimeout(() => this.#follow(), frame.delayMs);
        break;
      case "warning":
        this.#tell("warning", frame);
    }
  }

  /** @param {Link} link @param {Stream} stream @param {Frame} frame */
  #data(link, stream, frame) {
    if (stream.channel === "orderbook" && stream.link !== link) return;
    if (stream.brokenAt && frame.kind === "delta") return;
    if (!stream.take(frame, (gap) => this.#lose(stream, gap))) this.#mend(link, stream);
  }

  /** @param {Stream} stream @param {Frame} gap */
  #lose(stream, gap) {
    stream.tell("gap", gap);
    this.#tell("gap", gap);
  }

  /** Ask for a whole book. @param {Link} link @param {Stream} stream */
  #mend(link, stream) {
    stream.mend();
    link.send({ op: "snapshot", channel: stream.channel, ...stream.topic });
  }

  /** @param {Link} link @param {Frame} frame */
  #greeted(link, frame) {
    link.open = true;
    link.begunAt = Date.now();
    if (this.facts.hello) this.facts.reconnects += 1;
    this.facts.hello = frame;
    if (link === this.#link) this.#status({ status: "open" });
    link.subscribe([...new Set(this.#streams.values())], this.#batch);
    if (this.#paused) link.send({ op: "pause" });
    link.ping();
    this.#promote();
  }

  /** @param {Frame} pong */
  #measured({ t, rx, tx }) {
    const now = Date.now();
    this.facts.latency = now - t - (tx - rx);
    this.facts.clockOffset = (rx + tx - t - now) / 2;
    this.#tell("latency", this.facts.latency);
  }

  // -- connections

  /** @param {(link: Link) => void} use */
  async #begin(use) {
    const { token, client, WebSocket: given } = this.#options;
    const Socket = /** @type {any} */ (given ?? globalThis.WebSocket);
    if (!Socket) throw new Error("no WebSocket here: give one in options");
    const hello = { op: "hello", client, token: typeof token === "function" ? await token() : token };
    if (this.facts.status === "closed") return;
    const socket = new Socket(this.#url);
    const link = new Link(
      socket,
      (frame) => this.#received(link, frame),
      (frame) => this.#tell("frame", { direction: "out", frame }),
      (code, reason) => this.#lost(link, code, reason),
    );
    socket.onopen = () => link.send(hello);
    use(link);
  }

  #connect() {
    clearTimeout(this.#retry);
    this.#retry = null;
    this.#begin((link) => (this.#link = link)).catch((error) => {
      this.#tell("error", away(error));
      this.#wait(0, "no connection");
    });
  }

  /** The gateway is about to end: be on another connection before. */
  #follow() {
    if (this.#next || !this.#link) return;
    this.#begin((link) => (this.#next = link)).catch(() => {}); // then it ends as any other
  }

  /** The next connection takes over as soon as it has all topics. */
  #promote() {
    if (!this.#next?.open || this.#next.asked.size) return;
    const old = this.#link;
    this.#link = this.#next;
    this.#next = null;
    old?.end(1000, "");
  }

  /** @param {Link} link @param {number} code @param {string} reason */
  #lost(link, code, reason) {
    for (const stream of [...link.asked.values()].flat()) stream.asked = false;
    if (link === this.#next) this.#next = null;
    if (link !== this.#link) return;
    this.#link = this.#next;
    this.#next = null;
    if (this.#link?.open) return;
    if (code >= 4000 && code < 4100) {
      const message = reason || `closed with ${code}`;
      this.#tell("error", { code: "CLOSED", message, retryable: false });
      this.#finish(message, code);
      return;
    }
    if (link.open && Date.now() - link.begunAt > STEADY) this.#attempt = 0;
    for (const stream of new Set(this.#streams.values())) {
      if (stream.watchers.size) stream.tell("state", { state: "offline" });
      else this.#drop(stream);
    }
    if (this.#link) this.#status({ status: "reconnecting", code, reason, retryInMs: 0 });
    else this.#wait(code, reason);
  }

  /** @param {number} code @param {string} reason */
  #wait(code, reason) {
    const retryInMs = Math.round(Math.random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#attempt));
    this.#attempt = Math.min(this.#attempt + 1, 10);
    this.#retry = setTimeout(() => this.#connect(), retryInMs);
    this.#status({ status: "reconnecting", code, reason, retryInMs });
  }

  /** @param {string} reason @param {number} [code] */
  #finish(reason, code) {
    if (this.facts.status === "closed") return;
    clearInterval(this.ticks);
    clearTimeout(this.#retry);
    for (const type of ["online", "offline"]) globalThis.removeEventListener?.(type, this.#hurry);
    const links = [this.#link, this.#next];
    this.#link = this.#next = null;
    for (const link of links) link?.end(1000, "");
    for (const stream of new Set(this.#streams.values())) stream.tell("state", { state: "ended" });
    this.#streams.clear();
    this.#status({ status: "closed", reason, code });
  }

  /** @param {Api.Events["status"]} event */
  #status(event) {
    this.facts.status = event.status;
    this.#tell("status", event);
  }

  // -- time

  #tick() {
    const now = Date.now();
    const pause = now - this.#tickedAt;
    this.#tickedAt = now;
    if (pause > SLEPT) {
      this.#slept();
      return;
    }
    for (const link of [this.#link, this.#next]) if (link) this.#look(link, now);
    for (const stream of this.#streams.values()) {
      if (stream.brokenAt && now - stream.brokenAt > ASK_AGAIN && stream.link?.open) this.#mend(stream.link, stream);
    }
  }

  /** @param {Link} link @param {number} now */
  #look(link, now) {
    const heartbeat = this.facts.hello?.heartbeatMs ?? HEARTBEAT;
    if (!link.open) {
      if (now - link.begunAt > OPEN_WITHIN) link.end(1006, "no answer");
    } else if (link.probedAt) {
      if (link.heardAt > link.probedAt + TICK) link.probedAt = 0; // not what was on its way
      else if (now - link.probedAt > ANSWER_WITHIN) link.end(1006, "silent");
    } else if (now - link.heardAt > 1.5 * heartbeat) this.#probe(link);
    else if (now - link.pingedAt > PING_EVERY) link.ping();
  }

  /** @param {Link} link */
  #probe(link) {
    link.probedAt = Date.now();
    link.ping();
  }

  /** Nobody knows what became of the connection: ask, or try at once. */
  #slept() {
    if (this.#link?.open) this.#probe(this.#link);
    else if (this.#retry) {
      this.#attempt = 0;
      this.#connect();
    }
  }
}

/** Stands for a core that lives in a worker. Messages are lists: what to do, and with what. */
class Port {
  facts = { ...NOTHING };
  /** @type {Map<number, Watcher>} */
  #watchers = new Map();
  #number = 0;
  #port;

  /** @param {string} url @param {Api.Options} options @param {Tell} tell */
  constructor(url, { worker, token, client }, tell) {
    this.#port = /** @type {any} */ (worker).port ?? worker;
    this.#port.onmessage = (/** @type {any} */ { data: [what, first, second, third] }) => {
      if (what === "facts") this.facts = first;
      else if (what === "tell") tell(first, second);
      else if (what === "take") this.#watchers.get(first)?.take(second);
      else this.#watchers.get(first)?.tell(second, third);
    };
    const lock = `market-gateway ${Math.random()}`;
    this.#port.postMessage(["open", url, { token, client }]);
    // A worker is not told when a page ends, but gets the lock that the page held.
    globalThis.navigator?.locks?.request(lock, () => {
      this.#port.postMessage(["held", lock]);
      return new Promise((resolve) => (this.#release = () => resolve(null)));
    });
  }

  /** @param {Watcher} watcher */
  join(watcher) {
    const id = ++this.#number;
    this.#watchers.set(id, watcher);
    this.#port.postMessage(["join", id, watcher.channel, watcher.topic, { ...watcher.how, coalesce: undefined }]);
  }

  /** @param {Watcher} watcher */
  leave(watcher) {
    for (const [id, one] of this.#watchers) {
      if (one !== watcher) continue;
      this.#watchers.delete(id);
      this.#port.postMessage(["leave", id]);
    }
  }

  pause() {
    this.#port.postMessage(["pause"]);
  }

  resume() {
    this.#port.postMessage(["resume"]);
  }

  close() {
    this.#port.postMessage(["close"]);
    this.facts = { ...this.facts, status: "closed" };
    this.#release();
  }

  #release = () => {};
}

// -- small words

/** @param {Error} error */
function away({ message }) {
  return { code: "NO_CONNECTION", message, retryable: true };
}

/** @param {string | URL} url */
function address(url) {
  const full = new URL(url, globalThis.location?.href);
  full.protocol = full.protocol.replace("http", "ws");
  if (full.pathname === "/") full.pathname = "/v1/ws";
  return full.href;
}

/** @param {string} channel @param {Api.Topic} topic */
function nameOf(channel, { exchange, symbol, params }) {
  return JSON.stringify([channel, exchange, symbol, params ?? {}]);
}

/** How far `a` is behind `b`: of another epoch infinitely. @param {string} a @param {string} b */
function behind(a, b) {
  const [epochA, seqA, epochB, seqB] = `${a}-${b}`.split("-").map(Number);
  return epochA === epochB ? seqB - seqA : (epochB - epochA) * Infinity;
}

/**
 * A loss that we found. @param {{ channel: string, topic: Api.Topic }} where @param {string} reason
 * @param {string} from @param {string} to @param {number | null} missing @returns {Api.Gap}
 */
function gap({ channel, topic }, reason, from, to, missing) {
  const at = (/** @type {string} */ cursor) => ({ cursor, time: null });
  return { channel, topic, reason, from: at(from), to: at(to), missing, backfilled: false, rows: 0 };
}

/** @param {Frame} frame @returns {Api.Candle[]} */
function candles({ data, meta }) {
  return /** @type {number[][]} */ (data).map(([timestamp, open, high, low, close, volume], i) => {
    const { closed = false, complete = true } = meta?.[i] ?? {};
    return { timestamp, open, high, low, close, volume, closed, complete };
  });
}

/** One series, ascending; of two with one open time the later. @param {Api.Candle[]} series @param {Api.Candle[]} changed */
function upserted(series, changed) {
  const result = [...series];
  for (const candle of changed) {
    let at = result.length;
    while (at && result[at - 1].timestamp >= candle.timestamp) at -= 1;
    result.splice(at, result[at]?.timestamp === candle.timestamp ? 1 : 0, candle);
  }
  return result;
}

/** @param {"frame" | number} when @param {() => void} work */
function later(when, work) {
  if (when === "frame" && globalThis.document?.hidden === false) requestAnimationFrame(work);
  else setTimeout(work, when === "frame" ? 16 : when);
}

/** The caller's failure ends nothing here. @param {Function} f @param {any[]} values */
function call(f, ...values) {
  try {
    f(...values);
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** CRC32, unsigned. @param {string} text ASCII */
function crc32(text) {
  let sum = ~0;
  for (let i = 0; i < text.length; i++) sum = TABLE[(sum ^ text.charCodeAt(i)) & 255] ^ (sum >>> 8);
  return ~sum >>> 0;
}
