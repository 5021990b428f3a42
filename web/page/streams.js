/** The three streams of the market that is shown, and the parts of the page that show them. */

import { digitsAmong, digitsOf } from "./number.js";

const TRADES_BEFORE = 60;
const CANDLES_BEFORE = 1_000;
const CANDLES_OLDER = 500; // at once, when somebody looks further back
const ORDER = ["ohlcv", "orderbook", "trades"];
const FRAME = /** @type {const} */ ({ coalesce: "frame" });

/**
 * @typedef {import("../client.d.ts").Subscription<any>} Subscription
 * @typedef {import("./address.js").View} View @typedef {import("./catalogue.js").Market} Market
 * @typedef {{ chart: import("./chart.js").Chart, ladder: import("./ladder.js").Ladder, tape: import("./tape.js").Tape, health: import("./health.js").Health }} Parts
 * @typedef {{ priced: (price: number, side: string) => void, changed: () => void, refused: (stream: Subscription, error: any) => void }} Told
 */

export class Streams {
  /** How many digits prices and amounts have: the parts hold this very object. */
  digits = { price: 2, amount: 3 };
  /** @type {Map<string, Subscription>} by channel */
  #streams = new Map();
  /** @type {View} */
  #view = { exchange: "", symbol: "", timeframe: "", levels: 0 };

  /** @param {import("../client.d.ts").Gateway} gateway @param {Parts} parts @param {Told} told */
  constructor(gateway, parts, told) {
    this.gateway = gateway;
    this.parts = parts;
    this.told = told;
  }

  /** Candles, book, trades: those there are. */
  get all() {
    return ORDER.flatMap((channel) => this.#streams.get(channel) ?? []);
  }

  /** Show a market from its beginning. @param {View} view @param {Market | undefined} market undefined: not in the catalogue */
  begin(view, market) {
    this.end();
    this.#view = view;
    this.digits.price = market?.tickSize ? digitsOf(market.tickSize) : 2;
    this.digits.amount = market?.minOrderSize ? digitsOf(market.minOrderSize) : 3;
    this.#watchCandles();
    this.#watchBook(!market?.tickSize);
    this.#watchTrades();
  }

  /** The same market otherwise: what stays as it is goes on. @param {View} view */
  change(view) {
    const before = this.#view;
    this.#view = view;
    if (view.timeframe !== before.timeframe) this.#watchCandles();
    if (view.levels !== before.levels) this.#watchBook(false);
  }

  end() {
    for (const stream of this.#streams.values()) stream.unsubscribe();
    this.#streams.clear();
    this.parts.health.watch([]);
  }

  #watchCandles() {
    const { exchange, symbol, timeframe } = this.#view;
    const { chart } = this.parts;
    const older = (/** @type {number} */ until) => this.#older({ exchange, symbol, timeframe, params: { until } });
    chart.begin({ about: `${symbol} on ${exchange}, ${timeframe}`, digits: this.digits.price, older });
    const how = { ...FRAME, rewind: CANDLES_BEFORE };
    this.#watch(this.gateway.candles({ exchange, symbol, params: { timeframe } }, (series, update) => {
      chart.take(series, update.changed);
      this.told.priced(series.at(-1)?.close ?? 0, "");
      this.parts.health.seen(update);
    }, how));
  }

  /** @param {boolean} tickless the venue states no tick: its digits are those of its prices */
  #watchBook(tickless) {
    const { exchange, symbol, levels } = this.#view;
    const { ladder, health } = this.parts;
    ladder.begin(this.digits, levels);
    let first = true;
    this.#watch(this.gateway.orderBook({ exchange, symbol, params: { levels } }, (book, update) => {
      if (first) this.#settle(book, tickless);
      first = false;
      ladder.take(book);
      health.seen(update);
    }, FRAME));
  }

  #watchTrades() {
    const { exchange, symbol } = this.#view;
    const { tape, health } = this.parts;
    tape.begin(this.digits);
    const stream = this.gateway.trades({ exchange, symbol }, (trades, update) => {
      tape.take(trades);
      const { price, side } = trades[trades.length - 1];
      this.told.priced(price, side);
      health.seen(update);
    }, { ...FRAME, rewind: TRADES_BEFORE });
    stream.on("gap", (gap) => tape.gap(gap));
    this.#watch(stream);
  }

  /** @param {Subscription} stream */
  #watch(stream) {
    this.#streams.get(stream.channel)?.unsubscribe();
    this.#streams.set(stream.channel, stream);
    stream.on("state", () => this.told.changed());
    stream.on("error", (error) => this.told.refused(stream, error));
    this.parts.health.watch(this.all);
    this.told.changed();
  }

  /** @param {import("../client.d.ts").OrderBook} book @param {boolean} tickless */
  #settle({ bids, asks }, tickless) {
    const levels = [...bids, ...asks];
    if (tickless) this.digits.price = digitsAmong(levels.map(([price]) => price));
    this.digits.amount = Math.max(this.digits.amount, digitsAmong(levels.map(([, amount]) => amount)));
    this.parts.chart.settle(this.digits.price);
  }

  /** Candles before those the client has. @param {object} question */
  async #older(question) {
    const { data } = await this.gateway.fetch("fetchOHLCV", { ...question, limit: CANDLES_OLDER });
    return data.map((/** @type {number[]} */ [timestamp, open, high, low, close, volume]) => (
      { timestamp, open, high, low, close, volume, closed: true, complete: true }
    ));
  }
}
