/**
 * A client of market-gateway: one websocket, however many topics, for browsers, Electron, workers and Node.
 *
 * ```js
 * import { connect } from "market-gateway-client";
 *
 * const gateway = connect("ws://127.0.0.1:8787/v1/ws");
 * gateway.trades({ exchange: "binance", symbol: "BTC/USDT:USDT" }, (trades) => console.log(trades));
 * ```
 *
 * It stays connected: a lost connection is made anew, and each topic goes on behind the last frame that came. What was
 * lost all the same is told as a `gap`, never hidden.
 */
export function connect(url: string | URL, options?: Options): Gateway;

export interface Options {
  /** For gateways that ask for one. A function is asked before each connection. */
  token?: string | (() => string | Promise<string>);
  /** Your program's name and version, at most 128 characters: operators see it in their logs. */
  client?: string;
  /** A page that was hidden for so many milliseconds is sent nothing until it is seen again; false: always. 10,000. */
  pauseHidden?: number | false;
  /**
   * Where the connection is to live, if not here: `new SharedWorker("/worker.js", { type: "module" })` has one for all
   * tabs of an origin. `token` is then a string.
   */
  worker?: Worker | SharedWorker;
  /** In place of the runtime's own, for those that have none (Node 20: `import WebSocket from "ws"`). */
  WebSocket?: unknown;
}

/** Which stream, in the gateway's words; `exchange` left out is the gateway's default one. */
export interface Topic {
  exchange?: string;
  /** Unified (`BTC/USDT:USDT`), or the venue's own name. */
  symbol: string;
  /** `timeframe`, `levels`, `throttleMs`, `mode`, `type`, …: see the gateway's protocol. */
  params?: Record<string, string | number>;
}

/** How a stream is handed on. */
export interface How {
  /** Rows of the past that come first: of trades 0 (up to 1,000), of candles 300 (up to 1,000). */
  rewind?: number;
  /** Of trades, in place of `rewind`: go on behind this cursor, such as an `Answer` has. */
  since?: string;
  /**
   * Call the handler at most once in so many milliseconds, or once a `"frame"` of the screen, with all that came
   * meanwhile: trades are joined, of a book the newest is handed on, of candles all that changed.
   */
  coalesce?: "frame" | number;
}

export interface Gateway {
  readonly url: string;
  /** `closed` is for good: by `close()`, or because the gateway does not want this client as it is (see `error`). */
  readonly status: "connecting" | "open" | "reconnecting" | "closed";
  /** Milliseconds of the last round trip; null before the first. */
  readonly latency: number | null;
  /** The gateway's clock less ours, in milliseconds, as far as half a round trip can tell; null before the first. */
  readonly clockOffset: number | null;
  /** By our clock, in ms since 1970; null: nothing came yet. */
  readonly lastMessageAt: number | null;
  /** Connections that were lost and made anew. */
  readonly reconnects: number;
  /** What the gateway said of itself: limits, channels, exchanges, version; null before the first connection. */
  readonly hello: Record<string, any> | null;

  /** Trades as they come, oldest first. The handler is given the new ones. */
  trades(topic: Topic, handler?: Handler<Trade[]>, how?: How): Subscription<Trade[]>;
  /**
   * The best levels of a book, whole each time, also with `params.mode: "delta"`: then the book is kept here, by the
   * venue's own decimals, each change proven to follow the one before and checksums compared.
   */
  orderBook(topic: Topic, handler?: Handler<OrderBook>, how?: How): Subscription<OrderBook>;
  /** History and what is live as one series, ascending, each open time once. The handler is given all of it. */
  candles(topic: Topic, handler?: Handler<Candle[]>, how?: How): Subscription<Candle[]>;

  /** One question by REST: `fetchTrades`, `fetchOHLCV`, `fetchOrderBook`, `fetchMarkets`, `capabilities`, `status`. */
  fetch(method: string, body?: object): Promise<Answer>;

  /** Send nothing until `resume()`, which brings every topic up to date. */
  pause(): void;
  resume(): void;
  /** End it for good: every subscription with it. */
  close(): void;

  /** Gives a function that ends it. */
  on<K extends keyof Events>(type: K, listener: (event: Events[K]) => void): () => void;
}

export interface Events {
  /** The connection: `retryInMs` where it will be tried again, `reason` in a few words, `code` of a close. */
  status: { status: Gateway["status"]; reason?: string; code?: number; retryInMs?: number };
  latency: number;
  /** A topic's state with the venue, as in the protocol's `status` frame. */
  topic: Frame;
  /** An exchange's. */
  exchange: Frame;
  gap: Gap;
  error: GatewayError;
  /** `CLIENT_LAGGED`: this client read too slowly. */
  warning: Frame;
  /** The gateway is about to end; another connection is made first, and nothing is lost. */
  goaway: Frame;
  /** Every frame that comes (`in`) and every command that goes (`out`); nothing where the connection is in a worker. */
  frame: { direction: "in" | "out"; frame: Frame };
}

/** One watcher of a topic. Watchers of the same topic share its subscription. */
export interface Subscription<T> extends AsyncIterable<T> {
  readonly channel: "trades" | "orderbook" | "ohlcv";
  /** The canonical topic once the gateway has said it; before that, yours. */
  readonly topic: Topic;
  /**
   * As the gateway tells it: `connecting`, `live`, `stale`, `reconnecting`, `resyncing`, `unavailable`; `offline`: we
   * have no connection to the gateway; `failed`: refused, see `error`; `ended`: by `unsubscribe()`.
   */
  readonly state: string;
  /** What the handler was given last; null: nothing came yet. */
  readonly value: T | null;
  readonly cursor: string | null;
  /** By our clock, in ms since 1970; null: nothing came yet. */
  readonly lastMessageAt: number | null;
  unsubscribe(): void;
  /** Gives a function that ends it. `state` and its frame, if a frame told it. */
  on(type: "state", listener: (event: { state: string; frame?: Frame }) => void): () => void;
  on(type: "gap", listener: (event: Gap) => void): () => void;
  on(type: "error", listener: (event: GatewayError) => void): () => void;
  /**
   * What comes from here on: `for await (const trades of subscription)`. Who is slower than the stream is given trades
   * joined (10,000 at the most; then a `gap` says `CONSUMER_SLOW`), the newest book, the newest series. Ends with
   * `unsubscribe()`, which leaving the loop does too where there is no handler; throws what the gateway refused with.
   */
  [Symbol.asyncIterator](): AsyncIterator<T>;
}

export type Handler<T> = (value: T, update: Update) => void;

export interface Update {
  cursor: string;
  /** When it happened by the venue (null: it does not say), reached the gateway, and left it, in ms since 1970. */
  ts: { ex: number | null; rx: number; tx: number };
  /** Of candles: those that changed with this call; of all else nothing. */
  changed?: Candle[];
  /** Candles that were fetched after a loss, or that the venue changed after they were closed. */
  repair?: boolean;
}

export interface Trade {
  id: string;
  timestamp: number;
  datetime: string;
  symbol: string;
  /** The taker's. */
  side: "buy" | "sell";
  price: number;
  amount: number;
  cost: number;
  /** The venue's own row. */
  info: any;
  order: null;
  type: null;
  takerOrMaker: null;
  fee: null;
  fees: [];
}

export interface OrderBook {
  symbol: string;
  /** [price, amount], best first. */
  bids: [number, number][];
  asks: [number, number][];
  timestamp: number | null;
  datetime?: string | null;
  nonce: number | null;
  /** With `params.mode: "delta"`: the same levels as the venue wrote them. */
  decimals?: { bids: [string, string][]; asks: [string, string][] };
}

export interface Candle {
  /** Open time, in ms since 1970. */
  timestamp: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number | null;
  /** It is final. */
  closed: boolean;
  /** False: something of it was lost and not made up for. */
  complete: boolean;
}

/** A declared loss, as in the protocol; `reason` is one of its, or `UNDECLARED` or `CONSUMER_SLOW` of this client's. */
export interface Gap {
  channel: string;
  topic: Topic;
  reason: string;
  from: { cursor: string; time: number | null };
  to: { cursor: string; time: number | null };
  /** Rows that are lost for good; null: nobody can know. */
  missing: number | null;
  backfilled: boolean;
  /** Rows that were fetched, and follow. */
  rows: number;
  cursor?: string;
  events?: number | null;
  summary?: Record<string, number>;
}

/** A refusal in the protocol's words: `code` is for programs, `message` for people. */
export class GatewayError extends Error {
  code: string;
  retryable: boolean;
  retryAfterMs?: number;
  details?: Record<string, any>;
  channel?: string;
  topic?: Topic;
}

export interface Answer {
  data: any;
  /** Of the newest event in it, if the answer ends at it: subscribe with `since` to go on from there. */
  cursor: string | null;
  state: "live" | "stale" | "cold" | null;
  ageMs: number | null;
}

export type Frame = Record<string, any>;

/** @internal The connection itself, for worker.js. */
export const Core: new (url: string, options: Options, tell: (type: string, event: any) => void) => any;
