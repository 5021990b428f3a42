/** A client in a process of its own, which can be put to sleep: `node sleeper.js <port>` says what it has, line by line. */
import { WebSocket } from "ws";

import { connect } from "../client.js";

const gateway = connect(`http://127.0.0.1:${process.argv[2]}`, { WebSocket });
const ids = [];
const gaps = [];
const trades = gateway.trades({ exchange: "binance", symbol: "BTC/USDT:USDT" }, (some) => {
  ids.push(...some.map(({ id }) => Number(id)));
  console.log(JSON.stringify({ ids, gaps, reconnects: gateway.reconnects, state: trades.state }));
});
trades.on("gap", (gap) => gaps.push(gap));
