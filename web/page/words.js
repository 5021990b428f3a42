/** What happened, in sentences a person reads. Pure. */

import { clock, duration } from "./number.js";

const CHANNELS = { trades: "Trades", orderbook: "Order book", ohlcv: "Candles" };

/** What each state of a stream means for who looks at it. */
export const STATES = {
  connecting: "no data yet",
  live: "flowing, nothing known to be missing",
  stale: "late, or silent although it should not be; the gateway is acting on it",
  reconnecting: "the gateway lost the exchange and is connecting again",
  resyncing: "being proven afresh",
  unavailable: "the exchange told the gateway to stay away",
  offline: "no connection to the gateway",
  failed: "refused",
  ended: "ended",
};

/** Said over what stands still. */
export const WAITING = {
  connecting: "Waiting for the exchange…",
  offline: "No connection to the gateway; this is the last that came.",
  reconnecting: "The gateway lost the exchange and is connecting again; this is the last that came.",
  unavailable: "The exchange told the gateway to stay away; this is the last that came.",
  resyncing: "Being proven afresh…",
  stale: "Late: what is shown may be old.",
};

/** Said over the whole page; empty: nothing is wrong. @param {string} status of the connection @param {number} askedIn ms until the gateway is asked again, if it did not answer */
export function banner(status, askedIn) {
  if (status === "closed") return "The connection is closed for good: load the page again.";
  if (askedIn > 0) return `Cannot reach the gateway, asking again in ${duration(Math.ceil(askedIn / 1000) * 1000).replace(".0", "")}.`;
  return status === "reconnecting" ? "Cannot reach the gateway; trying until it answers." : "";
}

/** Worse ones further back. */
const ORDER = ["ended", "live", "connecting", "stale", "resyncing", "reconnecting", "unavailable", "offline", "failed"];

/** @param {string} channel */
export function channelName(channel) {
  return CHANNELS[/** @type {keyof typeof CHANNELS} */ (channel)] ?? channel;
}

/** @param {string[]} states */
export function worst(states) {
  return states.reduce((most, state) => (ORDER.indexOf(state) > ORDER.indexOf(most) ? state : most), "live");
}

/**
 * A badge's colour and word. @param {string} status of the connection @param {string[]} states of its streams
 * @returns {{ level: "good" | "wait" | "bad", word: string }}
 */
export function health(status, states) {
  if (status === "closed") return { level: "bad", word: "Closed" };
  if (status === "reconnecting") return { level: "bad", word: "Offline" };
  if (status === "connecting") return { level: "wait", word: "Connecting" };
  const state = states.length ? worst(states) : "connecting";
  const level = state === "live" ? "good" : ["connecting", "stale", "resyncing"].includes(state) ? "wait" : "bad";
  return { level, word: state[0].toUpperCase() + state.slice(1) };
}

/** @typedef {{ channel: string, state: string, previous?: string, reason?: string, retryInMs?: number }} StateFrame */

/** What became of several streams in one moment: those of which the same is to be said share a sentence. @param {StateFrame[]} frames */
export function stateSentences(frames) {
  const said = new Map();
  for (const frame of frames) {
    const words = stateWords(frame);
    said.set(words, [...(said.get(words) ?? []), channelName(frame.channel)]);
  }
  return [...said].map(([words, names]) => `${listed(names)}: ${words}.`);
}

/** "Candles, order book and trades" @param {string[]} names */
function listed(names) {
  const [first, ...rest] = names;
  const small = rest.map((name) => name.toLowerCase());
  return [[first, ...small.slice(0, -1)].join(", "), ...small.slice(-1)].join(" and ");
}

/** @param {StateFrame} frame */
function stateWords(frame) {
  const why = frame.reason ? ` (${frame.reason})` : "";
  const when = frame.retryInMs ? `; next try in ${soon(frame.retryInMs)}` : "";
  switch (frame.state) {
    case "live":
      return frame.previous && frame.previous !== "connecting" ? "live again" : "live";
    case "reconnecting":
      return `the exchange’s connection was lost${why}${when}`;
    case "resyncing":
      return `${frame.channel === "orderbook" ? "the book is being proven afresh" : "missed rows are being fetched"}${why}`;
    case "stale":
      return `late${why}`;
    case "unavailable":
      return `the exchange wants to be left alone${why}${when}`;
    default:
      return `${frame.state}${why}${when}`;
  }
}

/** Rounded, so that streams that wait together say so together. @param {number} ms */
function soon(ms) {
  return ms < 950 ? `0.${Math.max(1, Math.round(ms / 100))} s` : duration(Math.max(1000, ms));
}

const REASONS = {
  UPSTREAM_RECONNECT: "the exchange’s connection was lost",
  VENUE_SKIP: "the exchange skipped some",
  CLIENT_SLOW: "this page read too slowly",
  PAUSED: "nobody was looking at this page",
  RING_TRIMMED: "this page was away for too long",
  EPOCH_CHANGED: "the stream was begun anew",
  UNDECLARED: "nobody said why",
  CONSUMER_SLOW: "this page was too busy",
};

/** @param {{ channel: string, reason: string, missing: number | null, backfilled: boolean, rows: number, from?: any, to?: any }} gap */
export function gapSentence(gap) {
  const rows = gap.channel === "trades" ? "trade" : "candle";
  const many = (/** @type {number} */ n) => `${n} ${rows}${n === 1 ? "" : "s"}`;
  const why = REASONS[/** @type {keyof typeof REASONS} */ (gap.reason)] ?? gap.reason;
  const fetched = gap.rows ? `, ${many(gap.rows)} fetched afterwards` : "";
  if (gap.backfilled || gap.missing === 0) return `${channelName(gap.channel)}: gap closed, nothing is missing; ${why}${fetched}.`;
  const lost = gap.missing === null ? `an unknown number of ${rows}s is missing` : `${many(gap.missing)} missing`;
  const span = gap.from?.time && gap.to?.time ? ` between ${clock(gap.from.time)} and ${clock(gap.to.time)}` : "";
  return `${channelName(gap.channel)}: ${lost}${span}; ${why}${fetched}.`;
}

/** @param {{ status: string, reason?: string, code?: number, retryInMs?: number }} event @param {boolean} before it was open once */
export function connectionSentence(event, before) {
  if (event.status === "open") return before ? "Connected to the gateway again." : "Connected to the gateway.";
  if (event.status === "closed") return `Connection closed for good: ${event.reason ?? "no reason given"}.`;
  if (event.status !== "reconnecting") return "Connecting to the gateway…";
  const why = event.code && event.code !== 1005 && event.code !== 1006 ? ` (code ${event.code}${event.reason ? `, ${event.reason}` : ""})` : "";
  const lost = before ? `Lost the gateway${why}` : "Cannot reach the gateway";
  return `${lost}, retrying in ${soon(event.retryInMs ?? 0)}.`;
}

/** @param {Record<string, any>} warning */
export function laggedSentence({ topics = [] }) {
  const parts = topics.map((/** @type {any} */ one) => `${channelName(one.channel).toLowerCase()} ${one.events}`);
  return `This page read too slowly: in place of what it missed it got the newest state. Frames passed over: ${parts.join(", ")}.`;
}
