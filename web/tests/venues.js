/** The simulated venues behind a gateway: when they stand still, what they know, and how to break them. */

export class Venues {
  constructor(url) {
    this.url = url;
  }

  async #post(path, body) {
    const answer = await fetch(`${this.url}/control/${path}`, { method: "POST", body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }

  /** Break something of Binance, or of another: kinds are at `/control/faults`. */
  async fault(kind, more = {}) {
    return this.#post("faults", { venue: "binance", kind, ...more });
  }

  /** Until that fault has struck, or is over. */
  async struck(id) {
    for (;;) {
      const { active } = await (await fetch(`${this.url}/control/faults`)).json();
      if (!active.some((fault) => fault.id === id)) return;
      await new Promise((resolve) => setTimeout(resolve, 50)); // what another process does can only be polled
    }
  }

  /** While `work` runs, no market moves: what is asked twice is answered alike. */
  async frozen(work) {
    await this.#post("freeze", { frozen: true });
    try {
      return await work();
    } finally {
      await this.#post("freeze", { frozen: false });
    }
  }

  /** Ids of the newest aggregate trades, by the venue itself: consecutive numbers. */
  async tradeIds(symbol = "BTCUSDT") {
    const answer = await fetch(`${this.url}/binance/fapi/v1/aggTrades?symbol=${symbol}&limit=1000`);
    return (await answer.json()).map((trade) => trade.a);
  }
}

/** Everything that came of one topic of trades, and every loss that was told. */
export class Tape {
  ids = [];
  gaps = [];
  #waiting = new Set();

  constructor(subscribe) {
    this.subscription = subscribe((trades) => {
      this.ids.push(...trades.map(({ id }) => Number(id)));
      this.#look();
    });
    this.subscription.on("gap", (gap) => this.gaps.push(gap));
  }

  #look() {
    for (const one of this.#waiting) if (one.condition()) one.resolve(this.#waiting.delete(one));
  }

  async until(condition) {
    if (!condition()) await new Promise((resolve) => this.#waiting.add({ condition, resolve }));
  }

  /** So many more. */
  async more(count) {
    const enough = this.ids.length + count;
    await this.until(() => this.ids.length >= enough);
  }

  /** All that the venue has had until now. */
  async caughtUp(venues) {
    const newest = (await venues.tradeIds()).at(-1);
    await this.until(() => this.ids.includes(newest));
  }

  get twice() {
    return this.ids.filter((id, i) => this.ids.indexOf(id) !== i);
  }

  /** Ids that the venue gave between the first and the last that came, and that did not come. */
  get missing() {
    const came = new Set(this.ids);
    const all = Array.from({ length: Math.max(...this.ids) - Math.min(...this.ids) }, (_, i) => Math.min(...this.ids) + i);
    return all.filter((id) => !came.has(id));
  }

  /** How many are declared lost; null: nobody can know. */
  get declared() {
    return this.gaps.reduce((sum, { missing }) => (sum === null || missing === null ? null : sum + missing), 0);
  }

  get reasons() {
    return this.gaps.map(({ reason }) => reason);
  }
}

/** The next state of a subscription that is one of these; also the present one. */
export async function reaches(subscription, ...states) {
  if (states.includes(subscription.state)) return;
  await new Promise((resolve) => {
    const off = subscription.on("state", ({ state }) => {
      if (!states.includes(state)) return;
      off();
      resolve();
    });
  });
}

/** Until `condition()` holds, asked with each value that the subscription hands on. */
export class Latest {
  value = null;
  updates = 0;
  #waiting = new Set();

  put = (value) => {
    this.value = value;
    this.updates += 1;
    for (const one of this.#waiting) if (one.condition(value)) one.resolve(this.#waiting.delete(one));
  };

  async until(condition) {
    if (this.value === null || !condition(this.value)) {
      await new Promise((resolve) => this.#waiting.add({ condition, resolve }));
    }
    return this.value;
  }
}
