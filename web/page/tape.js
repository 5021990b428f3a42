/** The newest trades, newest on top. A hundred rows at the most; the oldest row becomes the newest one. */

import { clock, fixed } from "./number.js";
import { blankRow } from "./row.js";

const MOST = 100;

export class Tape {
  /** @param {HTMLElement} rows @param {HTMLElement} empty said while there is no trade */
  constructor(rows, empty) {
    this.rows = rows;
    this.empty = empty;
    this.digits = { price: 2, amount: 3 };
  }

  /** @param {{ price: number, amount: number }} digits */
  begin(digits) {
    this.digits = digits;
    this.rows.replaceChildren();
    this.empty.hidden = false;
  }

  /** @param {import("../client.d.ts").Trade[]} trades oldest first */
  take(trades) {
    for (const trade of trades.slice(-MOST)) {
      const up = trade.side === "buy";
      this.#put(trade.side, [
        `${up ? "▲" : "▼"} ${fixed(trade.price, this.digits.price)}`,
        fixed(trade.amount, this.digits.amount),
        clock(trade.timestamp),
      ]);
    }
  }

  /** Where trades are missing, the tape says so. @param {import("../client.d.ts").Gap} gap */
  gap(gap) {
    if (gap.missing === 0) return;
    this.#put("gap", [gap.missing === null ? "some missing" : `${gap.missing} missing`, "", clock(gap.to.time ?? Date.now())]);
  }

  /** @param {string} kind @param {string[]} texts */
  #put(kind, texts) {
    this.empty.hidden = true;
    const row = this.rows.childElementCount < MOST ? blankRow("print") : /** @type {HTMLElement} */ (this.rows.lastElementChild);
    row.dataset.kind = kind;
    for (const [number, text] of texts.entries()) row.children[number].textContent = text;
    this.rows.prepend(row);
  }
}
