/** Candles and volume on a TradingView chart. Without its library, which comes from npm, the page says how to get it. */

import { compact, dated, fixed, percent } from "./number.js";
import { onTheme } from "./theme.js";

const LIBRARY = "/vendor/lightweight-charts.mjs";
const OLDER = 500; // candles asked for at once when somebody looks further back
const NEAR = 30; // candles from the left edge at which they are asked for
const MOST = 20_000; // candles held of the past

/** @typedef {import("../client.d.ts").Candle} Candle */

/** The past and what the client keeps, as one series: where both have a candle the client's is newer. @param {Candle[]} past @param {Candle[]} live */
export function joined(past, live) {
  if (!live.length) return past;
  const end = past.findIndex((candle) => candle.timestamp >= live[0].timestamp);
  return (end < 0 ? past : past.slice(0, end)).concat(live);
}

export class Chart {
  /** @type {any} */
  #chart = null;
  /** @type {any} */
  #candles;
  /** @type {any} */
  #volume;
  /** @type {Candle[]} */
  #past = [];
  /** @type {Candle[]} */
  #rows = [];
  /** @type {Record<string, string>} */
  #colours = {};
  #digits = 2;
  /** @type {number | null} open time under the pointer */
  #pointed = null;
  #about = "";
  /** @type {(until: number) => Promise<Candle[]>} */
  #older = async () => [];
  #asking = false;
  #market = 0; // rises with each one, so that an answer that comes too late is known

  /** @param {HTMLElement} root @param {HTMLElement} legend @param {HTMLElement} missing said in the chart's place */
  constructor(root, legend, missing) {
    this.root = root;
    this.legend = legend;
    this.missing = missing;
    this.ready = this.#load();
  }

  /** For tests and the curious: what is on the screen. */
  get rows() {
    return this.#rows;
  }

  async #load() {
    let library;
    try {
      library = await import(LIBRARY);
    } catch {
      this.missing.hidden = false;
      this.root.hidden = true;
      return;
    }
    this.#chart = library.createChart(this.root, {
      autoSize: true,
      layout: { attributionLogo: false, fontSize: 11 }, // the page has the link, where a keyboard can reach it
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.12, bottom: 0.24 } },
      timeScale: { borderVisible: false, timeVisible: true, secondsVisible: false, rightOffset: 6, barSpacing: 7 },
      crosshair: { mode: library.CrosshairMode.Normal },
    });
    this.#candles = this.#chart.addSeries(library.CandlestickSeries, { borderVisible: false });
    this.#volume = this.#chart.addSeries(library.HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.#chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.#chart.subscribeCrosshairMove((/** @type {any} */ event) => {
      this.#pointed = event.time === undefined ? null : event.time * 1000;
      this.#describe();
    });
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((/** @type {any} */ range) => this.#look(range));
    onTheme(() => this.#paint());
    this.#scale();
    this.#paint();
  }

  /** Another market or timeframe. @param {{ about: string, digits: number, older: (until: number) => Promise<Candle[]> }} what */
  begin({ about, digits, older }) {
    this.#market += 1;
    this.#about = about;
    this.#digits = digits;
    this.#older = older;
    this.#past = [];
    this.#rows = [];
    this.#asking = false;
    this.#pointed = null;
    this.#scale();
    this.#draw();
  }

  /** Prices turned out to have so many digits. @param {number} digits */
  settle(digits) {
    if (digits === this.#digits) return;
    this.#digits = digits;
    this.#scale();
    this.#describe();
  }

  #scale() {
    const precision = this.#digits;
    const formatter = (/** @type {number} */ price) => fixed(price, precision);
    this.#candles?.applyOptions({ priceFormat: { type: "custom", formatter, minMove: 10 ** -precision } });
  }

  /** @param {Candle[]} series all of it @param {Candle[] | undefined} changed those that differ from before */
  take(series, changed) {
    const first = !this.#rows.length;
    const newest = this.#rows.at(-1)?.timestamp ?? 0;
    this.#rows = joined(this.#past, series);
    if (!this.#chart) return;
    if (first || !changed || changed.some((candle) => candle.timestamp < newest)) this.#draw();
    else for (const candle of changed) this.#update(candle);
    if (first) this.#chart.timeScale().scrollToRealTime();
    this.#describe();
  }

  /** @param {Candle} candle */
  #update(candle) {
    this.#candles.update(this.#bar(candle));
    this.#volume.update(this.#column(candle));
  }

  #draw() {
    this.#candles?.setData(this.#rows.map((candle) => this.#bar(candle)));
    this.#volume?.setData(this.#rows.map((candle) => this.#column(candle)));
    this.#describe();
  }

  /** @param {Candle} candle */
  #bar({ timestamp, open, high, low, close, closed, complete }) {
    const bar = { time: timestamp / 1000, open, high, low, close };
    if (complete || !closed) return bar;
    return { ...bar, color: this.#colours.warn, wickColor: this.#colours.warn }; // a part of it was lost
  }

  /** @param {Candle} candle */
  #column({ timestamp, open, close, volume }) {
    return { time: timestamp / 1000, value: volume ?? 0, color: close < open ? this.#colours.downSoft : this.#colours.upSoft };
  }

  /** The colours of the page, which a canvas has to be told. */
  #paint() {
    const style = getComputedStyle(document.documentElement);
    const of = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
    const names = ["panel", "grid", "muted", "text", "up", "down", "warn", "line"];
    this.#colours = { ...Object.fromEntries(names.map((name) => [name, of(name)])), upSoft: of("up-soft"), downSoft: of("down-soft") };
    const { panel, grid, muted, up, down, line } = this.#colours;
    this.#chart.applyOptions({
      layout: { background: { color: panel }, textColor: muted, fontFamily: getComputedStyle(document.body).fontFamily },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      crosshair: { vertLine: { color: muted, labelBackgroundColor: line }, horzLine: { color: muted, labelBackgroundColor: line } },
    });
    this.#candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    this.#draw();
  }

  #describe() {
    const candle = this.#pointed === null ? this.#rows.at(-1) : this.#rows.find((one) => one.timestamp === this.#pointed);
    if (!candle) {
      this.legend.textContent = "";
      return;
    }
    const price = (/** @type {number} */ value) => fixed(value, this.#digits);
    const change = candle.close / candle.open - 1;
    const parts = [
      ["", dated(candle.timestamp)],
      ["O", price(candle.open)],
      ["H", price(candle.high)],
      ["L", price(candle.low)],
      ["C", price(candle.close)],
      [change < 0 ? "▼" : "▲", percent(change)],
      ["Vol", candle.volume === null ? "not told" : compact(candle.volume)],
      ["", candle.closed ? (candle.complete ? "" : "incomplete: part of it was lost") : "forming"],
    ];
    this.legend.dataset.side = change < 0 ? "sell" : "buy";
    this.legend.replaceChildren(...parts.filter(([, value]) => value).map(([name, value]) => pair(name, value)));
    this.root.setAttribute("aria-label", `${this.#about}: ${this.#rows.length} candles, the last closes at ${price(candle.close)}`);
  }

  /** Somebody looks towards the left edge: get what is older. @param {{ from: number } | null} range */
  async #look(range) {
    if (!range || range.from > NEAR || this.#asking || !this.#rows.length || this.#past.length >= MOST) return;
    const market = this.#market;
    this.#asking = true;
    let found = /** @type {Candle[]} */ ([]);
    try {
      found = await this.#older(this.#rows[0].timestamp - 1);
    } catch {
      // The exchange does not answer now: the next look asks again.
    }
    if (market !== this.#market) return;
    this.#asking = false;
    const older = found.filter((candle) => candle.timestamp < this.#rows[0].timestamp);
    if (!older.length) {
      this.#asking = found.length === 0; // there is no more
      return;
    }
    this.#past = older.concat(this.#past);
    this.#rows = older.concat(this.#rows);
    this.#draw();
  }
}

/** @param {string} name @param {string} value */
function pair(name, value) {
  const element = document.createElement("span");
  if (name) {
    const label = document.createElement("b");
    label.textContent = `${name} `;
    element.append(label);
  }
  element.append(value);
  return element;
}
