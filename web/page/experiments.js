/** What a visitor of the demo may break, and what will be seen. Faults are the simulator's; data alone, and pure. */

/** @typedef {{ exchange: string, type: string, native: string }} Place where the page is looking */
/** @typedef {{ id: string, title: string, see: string, unseen?: string, faults?: (place: Place) => object[], seconds?: number }} Experiment */

/** @type {Experiment[]} */
export const EXPERIMENTS = [
  {
    id: "kill",
    title: "Kill the exchange’s connection",
    see: "All streams reconnect. Missed trades and candles are fetched, and a gap says whether that was all of them.",
    faults: () => [{ kind: "reset" }],
  },
  {
    id: "freeze",
    title: "Freeze the exchange for 20 s",
    see: "The connection stays open and nothing comes. The gateway notices by itself, connects afresh and fetches what was missed.",
    faults: () => [{ kind: "freeze", seconds: 20 }],
    seconds: 20,
  },
  {
    id: "book",
    title: "Drop one change of the book",
    see: "The exchange’s sequence breaks. Only the book stops, is proven afresh and goes on whole; trades and candles do not notice.",
    unseen: "Nobody noticed: this exchange sends whole books, and the next one took its place.",
    faults: ({ native }) => [{ kind: "drop", symbol: native, channel: "orderbook" }],
  },
  {
    id: "trades",
    title: "Drop five trade messages",
    see: "Where the exchange counts its trades, the hole is seen at once, fetched by REST and filled in order.",
    unseen: "Nobody noticed: this exchange does not count its trades, so what is lost on a live connection leaves no trace.",
    faults: ({ native }) => [{ kind: "drop", symbol: native, channel: "trades", count: 5 }],
  },
  {
    id: "refuse",
    title: "Refuse connections for 20 s",
    see: "Each try is told, with the time of the next one; pauses grow to 30 s. Then everything comes back, with what was missed.",
    faults: () => [{ kind: "refuse_handshake", seconds: 20 }, { kind: "reset" }],
    seconds: 20,
  },
  {
    id: "garble",
    title: "Send rubbish",
    see: "Unreadable messages in place of the book’s and the trades’. They are put aside; what they held is seen to be missing.",
    unseen: "Nobody noticed: this exchange numbers neither books nor trades, and what came next was whole.",
    faults: ({ native }) => [
      { kind: "garbage", symbol: native, channel: "orderbook" },
      { kind: "garbage", symbol: native, channel: "trades", count: 3 },
    ],
  },
  {
    id: "stall",
    title: "Stall a socket of mine",
    see: "A second connection stops reading for a while. It is not sent a backlog but the newest state, and told exactly what it missed; this page does not notice.",
  },
  {
    id: "offline",
    title: "Go offline for 10 s",
    see: "This page’s connection is cut and held down. It comes back with its cursors: what was missed is replayed, byte for byte.",
    seconds: 10,
  },
];

/** The simulator has spot markets of Binance as a venue of its own. @param {Place} place */
export function venueOf({ exchange, type }) {
  return exchange === "binance" && type === "spot" ? "binance-spot" : exchange;
}
