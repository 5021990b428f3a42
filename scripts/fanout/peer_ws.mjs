// The peer "node": npm's ws, compression off. See servers.py for what a peer does.
import net from "node:net";
import { createRequire } from "node:module";

const { WebSocketServer } = createRequire(process.argv[4])("ws"); // beside its node_modules
const [port, feedPort] = [Number(process.argv[2]), Number(process.argv[3])];
const topics = new Map();

const server = new WebSocketServer({ host: "127.0.0.1", port, perMessageDeflate: false, backlog: 2048 }, () => {
  net.createServer(feed).listen(feedPort, "127.0.0.1");
});
server.on("connection", (client) => {
  const mine = [];
  client.on("error", () => {});
  client.on("message", (data) => {
    for (const name of data.toString().split(" ").slice(1)) {
      if (!topics.has(name)) topics.set(name, new Set());
      topics.get(name).add(client);
      mine.push(name);
    }
    client.send("ok");
  });
  client.on("close", () => mine.forEach((name) => topics.get(name).delete(client)));
});

function feed(connection) {
  let rest = Buffer.alloc(0);
  connection.on("error", () => {});
  connection.on("data", (data) => {
    const input = rest.length ? Buffer.concat([rest, data]) : data;
    let at = 0;
    for (let end; (end = input.indexOf(10, at)) >= 0; at = end + 1) {
      const payload = input.subarray(at + 5, end);
      for (const client of topics.get(input.toString("latin1", at, at + 4)) ?? []) client.send(payload, { binary: false });
    }
    rest = input.subarray(at);
  });
}
