/** Numbers and times as the page writes them. Pure. Times are UTC, as they are in every frame. */

const MINUS = "\u2212";
const formats = new Map();

/** With so many digits behind the point, thousands apart. @param {number} value @param {number} digits */
export function fixed(value, digits) {
  let format = formats.get(digits);
  if (!format) {
    format = new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    formats.set(digits, format);
  }
  return format.format(value).replace("-", MINUS);
}

/** How many digits a step has behind the point: 0.001 has 3, 1e-7 has 7. @param {number} step */
export function digitsOf(step) {
  const [mantissa, exponent] = step.toString().split("e");
  const digits = (mantissa.split(".")[1] ?? "").length - Number(exponent ?? 0);
  return Math.max(0, Math.min(12, digits));
}

/** Of a price where the venue states no tick: what the prices there are have. @param {number[]} prices */
export function digitsAmong(prices) {
  return prices.reduce((most, price) => Math.max(most, digitsOf(price)), 0);
}

/** Five digits and a unit, for totals that have no natural step. @param {number} value */
export function compact(value) {
  for (const [unit, size] of /** @type {[string, number][]} */ ([["B", 1e9], ["M", 1e6], ["k", 1e5]])) {
    if (Math.abs(value) >= size) return `${fixed(value / (unit === "k" ? 1e3 : size), 2)} ${unit}`;
  }
  return fixed(value, Math.abs(value) >= 1000 ? 1 : 3);
}

/** @param {number} ratio 0.01 is one percent */
export function percent(ratio) {
  return `${ratio > 0 ? "+" : ""}${fixed(ratio * 100, 2)}\u202f%`;
}

/** How long, in the unit one would say it in. @param {number} ms */
export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

/** 12:03:59 @param {number} ms */
export function clock(ms) {
  return new Date(ms).toISOString().slice(11, 19);
}

/** @param {number} ms */
export function dated(ms) {
  return new Date(ms).toISOString().slice(0, 16).replace("T", " ");
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1_048_576 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1_048_576).toFixed(1)} MiB`;
}
