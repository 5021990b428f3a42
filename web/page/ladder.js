/** The order book as a ladder: asks above, bids below, the best next to the spread. Rows are made once and written in place. */

import { compact, fixed } from "./number.js";
import { blankRow } from "./row.js";

const MANY = 100_000; // a total that would not fit its column any more

/** @typedef {{ price: number, amount: number, total: number, depth: number }} Level */

/**
 * Both sides with running totals; `depth` is the total's part of the deeper side's, so bars of the two compare.
 * @param {{ bids: [number, number][], asks: [number, number][] }} book @param {number} most levels of a side
 * @returns {{ bids: Level[], asks: Level[] }}
 */
export function ladder(book, most) {
  const bids = totals(book.bids.slice(0, most));
  const asks = totals(book.asks.slice(0, most));
  const deepest = Math.max(bids.at(-1)?.total ?? 0, asks.at(-1)?.total ?? 0);
  for (const level of [...bids, ...asks]) level.depth = deepest ? level.total / deepest : 0;
  return { bids, asks };
}

/** @param {[number, number][]} side @returns {Level[]} */
function totals(side) {
  let total = 0;
  return side.map(([price, amount]) => ({ price, amount, total: (total += amount), depth: 0 }));
}

/** The distance of the best prices, and in hundredths of a percent of their middle. @param {{ bids: [number, number][], asks: [number, number][] }} book */
export function spread({ bids, asks }) {
  if (!bids.length || !asks.length) return null;
  const distance = asks[0][0] - bids[0][0];
  return { distance, basisPoints: (distance / ((asks[0][0] + bids[0][0]) / 2)) * 10_000 };
}

export class Ladder {
  /** @param {HTMLElement} root with parts marked by `data-part` */
  constructor(root) {
    const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (root.querySelector(`[data-part=${name}]`));
    this.root = root;
    this.parts = { asks: part("asks"), bids: part("bids"), spread: part("spread"), last: part("last") };
    /** @type {Record<string, HTMLElement[][]>} cells by side and level, best first */
    this.cells = { asks: [], bids: [] };
    this.digits = { price: 2, amount: 3 };
  }

  /** Show another market or depth: forget the one there was. @param {{ price: number, amount: number }} digits @param {number} levels */
  begin(digits, levels) {
    this.digits = digits;
    for (const side of ["asks", "bids"]) {
      const rows = Array.from({ length: levels }, () => blankRow("level"));
      this.cells[side] = rows.map((row) => /** @type {HTMLElement[]} */ ([row, ...row.children]));
      this.parts[/** @type {"asks" | "bids"} */ (side)].replaceChildren(...(side === "asks" ? rows.toReversed() : rows));
    }
    write(this.parts.spread, "");
    write(this.parts.last, "–");
    delete this.parts.last.dataset.side;
  }

  /** @param {import("../client.d.ts").OrderBook} book */
  take(book) {
    const { bids, asks } = ladder(book, this.cells.bids.length);
    this.#side(this.cells.asks, asks);
    this.#side(this.cells.bids, bids);
    const between = spread(book);
    write(
      this.parts.spread,
      between ? `Spread ${fixed(between.distance, this.digits.price)} · ${fixed(between.basisPoints, 2)} bp` : "One side is empty",
    );
  }

  /** The newest price, and which side took it. @param {{ price: number, side: string }} trade */
  traded({ price, side }) {
    write(this.parts.last, fixed(price, this.digits.price));
    this.parts.last.dataset.side = side;
  }

  /** @param {HTMLElement[][]} cells @param {Level[]} levels */
  #side(cells, levels) {
    for (const [number, [row, price, amount, total]] of cells.entries()) {
      const level = levels[number];
      write(price, level ? fixed(level.price, this.digits.price) : "");
      write(amount, level ? fixed(level.amount, this.digits.amount) : "");
      write(total, level ? (level.total < MANY ? fixed(level.total, this.digits.amount) : compact(level.total)) : "");
      const depth = level ? level.depth.toFixed(3) : "0";
      if (row.dataset.depth !== depth) {
        row.dataset.depth = depth;
        row.style.setProperty("--depth", depth);
      }
    }
  }
}

/** Touch the page only where something changed. @param {HTMLElement} element @param {string} text */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
