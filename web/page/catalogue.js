/** Which markets a few typed letters mean. Pure. */

/** @typedef {{ symbol: string, base: string, quote: string, type: string, exchangeMarketId: string, tickSize: number | null, minOrderSize: number | null, active: boolean }} Market */

/**
 * Best first: what begins with the text stands before what contains it, by base, then symbol, then the venue's own name.
 * Words may come apart: "btc perp" finds BTC/USDT:USDT.
 * @param {Market[]} markets @param {string} text @returns {Market[]}
 */
export function search(markets, text) {
  const words = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return markets;
  const found = markets.map((market) => ({ market, rank: rank(market, words) })).filter((one) => one.rank < Infinity);
  return found.sort((a, b) => a.rank - b.rank).map((one) => one.market); // sort is stable: the venue's order within a rank
}

/** @param {Market} market @param {string[]} words */
function rank(market, words) {
  const names = [market.base, market.symbol, market.exchangeMarketId, market.type].map((name) => name.toLowerCase());
  let total = 0;
  for (const word of words) {
    const exact = names.indexOf(word);
    const begins = names.findIndex((name) => name.startsWith(word));
    const holds = names.findIndex((name) => name.includes(word));
    if (exact >= 0) total += exact;
    else if (begins >= 0) total += 10 + begins;
    else if (holds >= 0) total += 20 + holds;
    else return Infinity;
  }
  return total;
}

/** What a page shows that was asked for nothing: the perpetual on bitcoin, else the first. @param {Market[]} markets */
export function favourite(markets) {
  return markets.find((market) => market.base === "BTC" && market.type === "perp") ?? markets[0];
}

/** @param {Market[]} markets @param {string} name unified, or the venue's own */
export function find(markets, name) {
  return markets.find((one) => one.symbol === name) ?? markets.find((one) => one.exchangeMarketId === name);
}
