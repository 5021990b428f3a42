/** What happened, newest on top, with its time; what matters now also as a toast, which screen readers say. */

import { clock } from "./number.js";

const KEPT = 200;
const TOASTS = 3;
const TOAST_FOR = 7_000; // milliseconds

/** @typedef {"good" | "wait" | "bad" | "note"} Level */

export class Events {
  #listeners = new Set();

  /** @param {HTMLElement} list @param {HTMLElement} empty @param {HTMLElement} toasts */
  constructor(list, empty, toasts) {
    this.list = list;
    this.empty = empty;
    this.toasts = toasts;
  }

  /** @param {Level} level @param {string} sentence @param {{ toast?: boolean }} [how] */
  tell(level, sentence, { toast = false } = {}) {
    const time = Date.now();
    this.empty.hidden = true;
    this.list.prepend(entry(level, time, sentence));
    while (this.list.childElementCount > KEPT) this.list.lastElementChild?.remove();
    if (toast) this.#toast(level, sentence);
    for (const listener of this.#listeners) listener({ level, sentence, time });
  }

  /** @param {(event: { level: Level, sentence: string, time: number }) => void} listener */
  on(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  clear() {
    this.list.replaceChildren();
    this.empty.hidden = false;
  }

  /** @param {Level} level @param {string} sentence */
  #toast(level, sentence) {
    const toast = document.createElement("p");
    toast.className = "toast";
    toast.dataset.level = level;
    toast.textContent = sentence;
    this.toasts.append(toast);
    while (this.toasts.childElementCount > TOASTS) this.toasts.firstElementChild?.remove();
    setTimeout(() => toast.remove(), TOAST_FOR);
  }
}

/** @param {Level} level @param {number} time @param {string} sentence */
function entry(level, time, sentence) {
  const item = document.createElement("li");
  item.dataset.level = level;
  const when = document.createElement("time");
  when.textContent = clock(time);
  const what = document.createElement("span");
  what.textContent = sentence;
  item.append(when, what);
  return item;
}
