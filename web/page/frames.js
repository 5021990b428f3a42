/** The newest frames, newest on top: a line each, and all of it when opened. A bound on how many; a filter; a halt. */

import { clock, size } from "./number.js";

const MOST = 500;

/** @typedef {{ direction: "in" | "out" | "state", text: string, time: number, broken: string, row: HTMLElement | null }} Entry */

export class Frames {
  /** @type {Entry[]} oldest first */
  #kept = [];
  /** @type {Entry[]} not drawn yet */
  #fresh = [];
  #filter = "";
  #scheduled = false;
  halted = false;

  /** @param {HTMLElement} list @param {HTMLElement} count */
  constructor(list, count) {
    this.list = list;
    this.count = count;
  }

  /** @param {Entry["direction"]} direction @param {string} text @param {string} [broken] what is wrong with it */
  put(direction, text, broken = "") {
    const entry = { direction, text, time: Date.now(), broken, row: null };
    this.#kept.push(entry);
    this.#fresh.push(entry);
    if (this.#fresh.length > MOST) this.#fresh.shift();
    if (this.#kept.length > MOST) {
      const gone = this.#kept.shift();
      if (!this.halted) gone?.row?.remove();
    }
    this.#schedule();
  }

  /** @param {string} text frames that do not contain it are not shown */
  filter(text) {
    this.#filter = text.toLowerCase();
    this.#redraw();
  }

  /** @param {boolean} halted the view stands still, frames go on */
  halt(halted) {
    this.halted = halted;
    if (!halted) this.#redraw();
  }

  clear() {
    this.#kept = [];
    this.#redraw();
  }

  #redraw() {
    this.list.replaceChildren();
    this.#fresh = [...this.#kept];
    this.#schedule();
  }

  #schedule() {
    if (this.#scheduled || this.halted) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      for (const entry of this.#fresh.splice(0)) if (this.#matches(entry)) this.list.prepend((entry.row = line(entry)));
      while (this.list.childElementCount > MOST) this.list.lastElementChild?.remove();
      this.count.textContent = `${this.list.childElementCount} of the newest ${MOST}`;
    });
  }

  /** @param {Entry} entry */
  #matches(entry) {
    return !this.#filter || entry.text.toLowerCase().includes(this.#filter);
  }
}

const ARROWS = { in: "←", out: "→", state: "·" };

/** @param {Entry} entry */
function line(entry) {
  const item = document.createElement("details");
  item.className = "frame";
  item.dataset.direction = entry.direction;
  if (entry.broken) item.dataset.broken = "true";
  const summary = document.createElement("summary");
  const { kind, rest } = gist(entry.text);
  for (const text of [clock(entry.time), ARROWS[entry.direction], size(entry.text.length), kind, entry.broken || rest]) {
    const part = document.createElement("span");
    part.textContent = text;
    summary.append(part);
  }
  item.append(summary);
  item.addEventListener("toggle", () => item.children.length === 1 && item.append(whole(entry)));
  return item;
}

/** What a frame is, and what tells it from the next one, on one line. @param {string} text */
export function gist(text) {
  let frame;
  try {
    frame = JSON.parse(text);
  } catch {
    return { kind: "", rest: text };
  }
  const { type, op, channel, topic, cursor, ts, exchange, symbol, params, ...rest } = frame;
  const place = topic ?? { exchange, symbol, params };
  const where = [place.exchange, place.symbol, ...Object.values(place.params ?? {})];
  const kind = type ?? op ?? "";
  const words = [kind === channel ? "" : channel, ...where, cursor].filter((word) => word !== undefined && word !== "");
  return { kind, rest: `${words.join(" ")} ${JSON.stringify(rest)}`.trim().slice(0, 400) };
}

/** @param {Entry} entry */
function whole({ text }) {
  const block = document.createElement("pre");
  block.tabIndex = 0;
  try {
    block.textContent = pretty(JSON.parse(text));
  } catch {
    block.textContent = text;
  }
  return block;
}

/** Indented, but rows of numbers stay rows. @param {any} value */
export function pretty(value) {
  return JSON.stringify(value, null, 2).replace(/\[\s+([^[\]{}]*?)\s+\]/g, (_, inner) => `[${inner.replace(/\s*\n\s*/g, " ")}]`);
}
