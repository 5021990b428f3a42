/** The market picker: a combobox over an exchange's catalogue. `/` goes to it, arrows and Enter choose, Esc leaves. */

import { search } from "./catalogue.js";

const SHOWN = 60; // a venue may list thousands; who wants another types on

export class MarketPicker {
  /** @type {import("./catalogue.js").Market[]} */
  #markets = [];
  /** @type {import("./catalogue.js").Market[]} */
  #found = [];
  #active = 0;
  #shown = ""; // the symbol in force

  /** @param {HTMLInputElement} input @param {HTMLElement} list @param {(market: import("./catalogue.js").Market) => void} choose */
  constructor(input, list, choose) {
    this.input = input;
    this.list = list;
    this.choose = choose;
    input.addEventListener("focus", () => {
      input.select();
      this.#open("");
    });
    input.addEventListener("input", () => this.#open(input.value));
    input.addEventListener("blur", () => this.#close());
    input.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the input keeps the focus, and the list stays until the click
      const option = event.target instanceof Element && event.target.closest("[role=option]");
      if (option) this.#take(Number(/** @type {HTMLElement} */ (option).dataset.number));
    });
  }

  /** @param {import("./catalogue.js").Market[]} markets */
  offer(markets) {
    this.#markets = markets;
    if (document.activeElement === this.input) this.#open(this.input.value === this.#shown ? "" : this.input.value);
  }

  /** @param {string} symbol */
  show(symbol) {
    this.#shown = symbol;
    if (document.activeElement !== this.input) this.input.value = symbol;
  }

  /** @param {string} text */
  #open(text) {
    this.#found = search(this.#markets, text);
    const current = this.#found.findIndex((market) => market.symbol === this.#shown);
    this.#active = text || current < 0 ? 0 : Math.min(current, SHOWN - 1);
    const options = this.#found.slice(0, SHOWN).map(option);
    const more = this.#found.length - SHOWN;
    if (more > 0) options.push(note(`${more} more: type on`));
    if (!options.length) options.push(note(this.#markets.length ? `No market matches “${text}”` : "The catalogue has not come yet"));
    this.list.replaceChildren(...options);
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.#mark();
  }

  #close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
    this.input.value = this.#shown;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const last = Math.min(this.#found.length, SHOWN) - 1;
    if (event.key === "ArrowDown") this.#active = Math.min(this.#active + 1, last);
    else if (event.key === "ArrowUp") this.#active = Math.max(this.#active - 1, 0);
    else if (event.key === "Enter") this.#take(this.#active);
    else if (event.key === "Escape") this.input.blur();
    else return;
    event.preventDefault();
    this.#mark();
  }

  #mark() {
    for (const [number, element] of [...this.list.children].entries()) {
      if (element.getAttribute("role") !== "option" || element.getAttribute("aria-disabled")) continue;
      const active = number === this.#active;
      element.setAttribute("aria-selected", String(active));
      if (!active) continue;
      this.input.setAttribute("aria-activedescendant", element.id);
      element.scrollIntoView({ block: "nearest" });
    }
  }

  /** @param {number} number */
  #take(number) {
    const market = this.#found[number];
    if (!market) return;
    this.#shown = market.symbol;
    this.input.blur();
    this.choose(market);
  }
}

/** @param {import("./catalogue.js").Market} market @param {number} number */
function option(market, number) {
  const element = document.createElement("li");
  element.id = `market-${number}`;
  element.dataset.number = String(number);
  element.setAttribute("role", "option");
  for (const [name, text] of [["symbol", market.symbol], ["type", market.type], ["native", market.exchangeMarketId]]) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    element.append(part);
  }
  return element;
}

/** @param {string} text */
function note(text) {
  const element = document.createElement("li");
  element.className = "note";
  element.setAttribute("role", "option");
  element.setAttribute("aria-disabled", "true");
  element.textContent = text;
  return element;
}
