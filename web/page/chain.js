/** Is a stream whole? The protocol's promises about cursors and changes, checked frame by frame. Pure. */

/** @typedef {{ type: string, channel: string, topic: any, cursor?: string, kind?: string, prev?: string, data?: any, checksum?: number, from?: any, to?: any }} Frame */
/** @typedef {{ ok: boolean, frames: number, cursor: string, gaps: number, declared: number, checksums: number, fault: string }} Verdict */

export class Chain {
  /** @type {Verdict} */
  verdict = { ok: true, frames: 0, cursor: "", gaps: 0, declared: 0, checksums: 0, fault: "" };
  #covered = ""; // what was declared missing ends there
  /** @type {{ bids: Map<string, string>, asks: Map<string, string> } | null} */
  #book = null;

  /** @param {Frame} frame of this topic: data, or a gap */
  take(frame) {
    const { verdict } = this;
    if (frame.type === "gap") this.#gap(frame);
    if (!frame.cursor) return verdict;
    const before = verdict.cursor;
    if (before) this.#compare(before, frame);
    if (frame.kind) this.#change(frame, before);
    verdict.frames += 1;
    verdict.cursor = frame.cursor;
    return verdict;
  }

  /** It goes on behind a cursor, or begins anew: what came before does not count. */
  restart() {
    this.verdict.cursor = this.#covered = "";
    this.#book = null;
  }

  /** @param {Frame} gap */
  #gap(gap) {
    this.verdict.gaps += 1;
    this.verdict.declared += /** @type {any} */ (gap).missing ?? 0;
    if (!gap.cursor) this.#covered = gap.to?.cursor ?? "";
  }

  /** @param {string} before @param {Frame} frame */
  #compare(before, frame) {
    const cursor = frame.cursor ?? "";
    const [epoch, seq] = numbers(cursor);
    const [epochBefore, seqBefore] = numbers(before);
    if (epoch < epochBefore) this.#break(`the epoch fell from ${epochBefore} to ${epoch}`);
    if (epoch !== epochBefore) return; // a new epoch begins anywhere
    if (frame.channel === "orderbook") {
      if (seq < seqBefore) this.#break(`the cursor fell from ${before} to ${cursor}`);
      return;
    }
    const [, end] = numbers(this.#covered || before);
    if (seq !== seqBefore + 1 && !(this.#covered && seq > seqBefore && seq <= end + 1)) {
      this.#break(`${cursor} follows ${before} and no gap says why`);
    }
  }

  /** @param {Frame} frame @param {string} before */
  #change(frame, before) {
    if (frame.kind === "snapshot") this.#book = { bids: new Map(), asks: new Map() };
    else if (frame.prev !== before) this.#break(`a change extends ${frame.prev}, not ${before}`);
    if (!this.#book) return;
    for (const side of /** @type {("bids" | "asks")[]} */ (["bids", "asks"])) apply(this.#book[side], frame, side);
    if (frame.checksum === undefined) return;
    this.verdict.checksums += 1;
    const own = crc32(words(this.#book).join(":"));
    if (own !== frame.checksum) this.#break(`checksum ${frame.checksum}, but the book has ${own}`);
  }

  /** @param {string} fault the first one is kept */
  #break(fault) {
    this.verdict.ok = false;
    this.verdict.fault ||= fault;
  }
}

/** @param {string} cursor */
function numbers(cursor) {
  return cursor.split("-").map(Number);
}

/** Absolute amounts; 0 removes. Then cut to the depth of the view. @param {Map<string, string>} levels @param {Frame} frame @param {"bids" | "asks"} side */
function apply(levels, frame, side) {
  for (const [price, amount] of frame.data[side]) {
    if (Number(amount)) levels.set(price, amount);
    else levels.delete(price);
  }
  for (const price of best(levels, side).slice(frame.topic.params.levels)) levels.delete(price);
}

/** @param {Map<string, string>} levels @param {"bids" | "asks"} side */
function best(levels, side) {
  return [...levels.keys()].sort((a, b) => (side === "bids" ? Number(b) - Number(a) : Number(a) - Number(b)));
}

/** Price and amount of the ten best levels, bids and asks in turn. @param {{ bids: Map<string, string>, asks: Map<string, string> }} book */
function words(book) {
  const [bids, asks] = [best(book.bids, "bids"), best(book.asks, "asks")];
  const found = [];
  for (let i = 0; i < 10; i++) {
    if (i < bids.length) found.push(bids[i], book.bids.get(bids[i]));
    if (i < asks.length) found.push(asks[i], book.asks.get(asks[i]));
  }
  return found;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** @param {string} text of ASCII */
export function crc32(text) {
  let value = ~0;
  for (let i = 0; i < text.length; i++) value = TABLE[(value ^ text.charCodeAt(i)) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}
