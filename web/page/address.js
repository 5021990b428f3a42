/** What a page shows and the address that says so. Pure: no document, no history. */

export const TIMEFRAMES = ["1m", "3m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"];
export const LEVELS = [5, 10, 20, 50];

/** @typedef {{ exchange: string, symbol: string, timeframe: string, levels: number }} View */

/** What an address asks for; empty where it asks for nothing. @param {string} search @returns {View} */
export function read(search) {
  const asked = new URLSearchParams(search);
  const levels = Number(asked.get("levels"));
  return {
    exchange: asked.get("exchange") ?? "",
    symbol: asked.get("symbol") ?? "",
    timeframe: asked.get("timeframe") || "1m",
    levels: LEVELS.includes(levels) ? levels : 20,
  };
}

/** The address of a view. Slashes and colons are left as people write them. @param {View} view */
export function write({ exchange, symbol, timeframe, levels }) {
  const plain = (/** @type {string} */ text) => encodeURIComponent(text).replaceAll("%2F", "/").replaceAll("%3A", ":");
  return `/?exchange=${plain(exchange)}&symbol=${plain(symbol)}&timeframe=${plain(timeframe)}&levels=${levels}`;
}

/** @param {View} a @param {View} b */
export function same(a, b) {
  return write(a) === write(b);
}
