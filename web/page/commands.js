/** Commands to begin with, and the same question for other tools. Pure. */

const TOPIC = { exchange: "binance", symbol: "BTC/USDT:USDT" };

/** @type {{ name: string, command: object }[]} */
export const TEMPLATES = [
  { name: "subscribe trades", command: { op: "subscribe", id: 1, channel: "trades", ...TOPIC, rewind: 5 } },
  { name: "subscribe book", command: { op: "subscribe", id: 2, channel: "orderbook", ...TOPIC, params: { levels: 5, throttleMs: 250 } } },
  { name: "subscribe book, changes", command: { op: "subscribe", id: 3, channel: "orderbook", ...TOPIC, params: { levels: 10, mode: "delta" } } },
  { name: "subscribe candles", command: { op: "subscribe", id: 4, channel: "ohlcv", ...TOPIC, params: { timeframe: "1m" }, rewind: 10 } },
  { name: "subscribe a batch", command: { op: "subscribe", id: 5, topics: [{ channel: "trades", ...TOPIC }, { channel: "trades", exchange: "bybit", symbol: "BTC/USDT:USDT" }] } },
  { name: "unsubscribe", command: { op: "unsubscribe", id: 6, channel: "trades", ...TOPIC } },
  { name: "unsubscribe all", command: { op: "unsubscribeAll", id: 7 } },
  { name: "list", command: { op: "list", id: 8 } },
  { name: "snapshot", command: { op: "snapshot", id: 9, channel: "orderbook", ...TOPIC, params: { levels: 5, throttleMs: 250 } } },
  { name: "pause", command: { op: "pause", id: 10 } },
  { name: "resume", command: { op: "resume", id: 11 } },
  { name: "ping", command: { op: "ping", id: 12, t: 0 } },
  { name: "hello", command: { op: "hello", id: 13, client: "console" } },
];

/** The whole word that is being typed between quotes, and what could stand there. @param {string} text before the caret */
export function completions(text) {
  const typed = /"op"\s*:\s*"(\w*)$/.exec(text) ?? /"channel"\s*:\s*"(\w*)$/.exec(text);
  if (!typed) return [];
  const words = typed[0].startsWith('"op"') ? [...new Set(TEMPLATES.map((one) => /** @type {any} */ (one.command).op))] : ["trades", "orderbook", "ohlcv"];
  return words.filter((word) => word.startsWith(typed[1]) && word !== typed[1]).map((word) => word.slice(typed[1].length));
}

/**
 * What the command asks for, by REST; null where REST has no such thing. A batch is as many requests.
 * @param {any} command @param {string} origin
 */
export function curl(command, origin) {
  if (command.op === "list" || command.op === "hello") return `curl -s ${origin}/v1/${command.op === "list" ? "status" : "capabilities"}`;
  if (command.op === "ping") return `curl -s ${origin}/healthz`;
  if (command.op !== "subscribe" && command.op !== "snapshot") return null;
  return (command.topics ?? [command]).map((/** @type {any} */ item) => request({ ...item, rewind: item.rewind ?? command.rewind }, origin)).join("\n");
}

/** @param {any} item @param {string} origin */
function request({ channel, exchange, symbol, params = {}, rewind }, origin) {
  const { levels, depth, limit, timeframe, interval, throttleMs, mode, ...rest } = params;
  const body = { exchange, symbol };
  const market = Object.keys(rest).length ? { params: rest } : {};
  const asked = {
    trades: ["fetchTrades", { ...body, limit: rewind || 100, ...market }],
    orderbook: ["fetchOrderBook", { ...body, limit: levels ?? depth ?? limit ?? 20, ...market }],
    ohlcv: ["fetchOHLCV", { ...body, timeframe: timeframe ?? interval ?? "1m", limit: rewind || 200, ...market }],
  }[/** @type {"trades"} */ (channel)];
  return asked ? `curl -s ${origin}/v1/${asked[0]} -d ${quoted(JSON.stringify(asked[1]))}` : `# REST has no channel ${channel}`;
}

/** @param {any} command @param {string} url of the websocket */
export function websocat(command, url) {
  return `echo ${quoted(JSON.stringify(command))} | websocat --no-close ${url}`;
}

/** For a shell. @param {string} text */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
