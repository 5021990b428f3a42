/** Types of client.js that its users do not see. */
import type * as Api from "./client.d.ts";

export type Channel = "trades" | "orderbook" | "ohlcv";
export type Frame = Record<string, any>;
export type Tell = (type: string, event: any) => void;
export type Listen = (type: string, listener: (event: any) => void) => () => void;

export interface Update extends Api.Update {
  value: any;
}

/** Two updates as one. */
export type Join = (held: Update | null, update: Update) => Update;

/** One who watches a topic, as a core sees it. */
export interface Watcher {
  channel: Channel;
  topic: Api.Topic;
  how: Api.How;
  take(update: Update): void;
  /** Of `state` ({state, frame, topic}), `gap` and `error`. */
  tell: Tell;
}

/** What is known of the connection. */
export type Facts = {
  -readonly [K in "status" | "latency" | "clockOffset" | "lastMessageAt" | "reconnects" | "hello"]: Api.Gateway[K];
};

export interface Reader {
  put(update: Update): void;
  /** There is no more, or the end is to be told. */
  end(): void;
}

export interface Level {
  pair: [number, number];
  text: [string, string];
}

/** One core for all pages of one gateway. */
export interface Hub {
  core: InstanceType<typeof Api.Core>;
  stop: () => void;
  ports: Set<any>;
  /** Those that somebody looks at. */
  awake: Set<any>;
}
