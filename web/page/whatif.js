/** The "what if" panel of the demo: break something, watch it heal, and read afterwards what happened when. */

import { EXPERIMENTS, venueOf } from "./experiments.js";
import { holdDown } from "./line.js";
import { duration } from "./number.js";

const SWITCH = "/demo/faults";
const QUIET = 1_200; // milliseconds without news after which it is over
const LONGEST = 60_000;
const NOTHING_SEEN = 12_000; // so long after it ended nobody will notice any more

/** @typedef {import("./experiments.js").Place} Place @typedef {import("./experiments.js").Experiment} Experiment */

export class WhatIf {
  /** @type {Experiment | null} */
  #running = null;
  #began = 0;
  #newsAt = 0;
  #news = 0;
  /** @type {number[]} faults that are on by us */
  #faults = [];
  #stop = false;

  /**
   * @param {HTMLElement} root @param {import("./events.js").Events} events
   * @param {{ place: () => Place, healthy: () => boolean, topics: () => object[], url: string }} page
   */
  constructor(root, events, page) {
    const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (root.querySelector(`[data-part=${name}]`));
    this.page = page;
    this.cards = part("experiments");
    this.timeline = part("timeline");
    this.title = part("title");
    this.cards.replaceChildren(...EXPERIMENTS.map((one) => this.#card(one)));
    this.end = /** @type {HTMLButtonElement} */ (part("stop"));
    this.end.addEventListener("click", () => (this.#stop = true));
    events.on(({ level, sentence }) => {
      if (!this.#running) return;
      this.#news += 1;
      this.#newsAt = Date.now();
      this.#note(level, sentence);
    });
  }

  /** @param {Experiment} experiment */
  #card(experiment) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "experiment";
    button.dataset.experiment = experiment.id;
    const title = document.createElement("strong");
    title.textContent = experiment.title;
    const see = document.createElement("span");
    see.textContent = experiment.see;
    button.append(title, see);
    button.addEventListener("click", () => this.run(experiment));
    return button;
  }

  /** @param {Experiment} experiment */
  async run(experiment) {
    if (this.#running) return;
    this.#begin(experiment);
    try {
      if (experiment.id === "stall") await this.#stall();
      else if (experiment.id === "offline") this.#goOffline(experiment);
      else for (const fault of experiment.faults?.(this.page.place()) ?? []) await this.#set(fault);
      await this.#settled((experiment.seconds ?? 0) * 1000);
    } catch (error) {
      this.#note("bad", `It could not be done: ${error instanceof Error ? error.message : error}`);
    }
    await this.#finish();
  }

  /** @param {Experiment} experiment */
  #begin(experiment) {
    this.#running = experiment;
    this.#began = this.#newsAt = Date.now();
    this.#news = 0;
    this.#stop = false;
    this.title.textContent = experiment.title;
    this.timeline.replaceChildren();
    this.timeline.dataset.running = "true";
    this.end.hidden = experiment.id === "stall";
    this.#lock();
  }

  async #finish() {
    for (const id of this.#faults.splice(0)) await fetch(`${SWITCH}?id=${id}`, { method: "DELETE" }).catch(() => {});
    this.#running = null;
    this.timeline.dataset.running = "false";
    this.end.hidden = true;
    this.#lock();
  }

  #lock() {
    for (const button of this.cards.querySelectorAll("button")) {
      button.setAttribute("aria-disabled", String(this.#running !== null));
      button.toggleAttribute("data-running", button.dataset.experiment === this.#running?.id);
    }
  }

  /** @param {any} fault */
  async #set(fault) {
    const venue = venueOf(this.page.place());
    const how = Object.entries(fault).filter(([name]) => name !== "kind").map(([name, value]) => `${name} ${value}`);
    const details = how.length ? ` (${how.join(", ")})` : "";
    this.#note("note", `Fault set at ${venue}: ${fault.kind.replace("_", " ")}${details}`); // it may be felt before it is answered
    const answer = await fetch(SWITCH, { method: "POST", body: JSON.stringify({ venue, ...fault }) });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error ?? `HTTP ${answer.status}`);
    this.#faults.push(told.id);
  }

  /** @param {Experiment} experiment */
  #goOffline({ seconds = 10 }) {
    this.#note("note", `Connection cut, and held down for ${seconds} s`);
    holdDown(seconds * 1000);
  }

  /** A page cannot stop reading a socket; a worker that does nothing else can. */
  #stall() {
    const worker = new Worker("/page/stalled.js");
    return new Promise((resolve, reject) => {
      worker.onerror = () => reject(new Error("the worker did not start"));
      worker.onmessage = ({ data: { level, text, over } }) => {
        this.#newsAt = Date.now();
        this.#news += 1;
        this.#note(level, text);
        if (!over) return;
        worker.terminate();
        resolve(null);
      };
      worker.postMessage({ url: this.page.url, topics: this.page.topics() });
    });
  }

  /** Wait until all is well and quiet again, and say how long that took. @param {number} lasts of the fault itself, ms */
  async #settled(lasts) {
    while (Date.now() - this.#began < LONGEST && !this.#stop) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      const since = Date.now() - this.#began - lasts;
      const quiet = Date.now() - this.#newsAt > QUIET;
      if (since < 500 || !quiet || !this.page.healthy()) continue;
      if (this.#news) {
        const took = duration(this.#newsAt - this.#began);
        this.#note("good", this.#running?.id === "stall" ? "Done. This page went on undisturbed." : `All well again, ${took} after it began.`);
        return;
      }
      if (since > NOTHING_SEEN) {
        this.#note("note", this.#running?.unseen ?? "Nobody noticed anything.");
        return;
      }
    }
    this.#note(this.#stop ? "note" : "bad", this.#stop ? "Stopped: the fault is switched off." : "Not well again within a minute.");
  }

  /** @param {string} level @param {string} text */
  #note(level, text) {
    const item = document.createElement("li");
    item.dataset.level = level;
    const when = document.createElement("time");
    when.textContent = `+${((Date.now() - this.#began) / 1000).toFixed(1)} s`;
    const what = document.createElement("span");
    what.textContent = text;
    item.append(when, what);
    this.timeline.append(item);
    item.scrollIntoView({ block: "nearest" });
  }
}
