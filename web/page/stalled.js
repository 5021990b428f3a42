/**
 * A worker whose socket is not read for a while: it subscribes to much, blocks its own thread until the gateway can send
 * no more, then reads on and tells what it was told. A classic script: it imports nothing.
 */

const WARM = 500; // milliseconds of reading before
const BLOCKED = 5_000; // fills what lies between; the gateway cuts who takes nothing for 10 s
const AFTER = 1_500; // to be brought up to date


/** @param {"good" | "wait" | "bad" | "note"} level @param {string} text @param {boolean} [over] */
function tell(level, text, over = false) {
  postMessage({ level, text, over });
}

onmessage = ({ data: { url, topics } }) => {
  const socket = new WebSocket(url);
  let bytes = 0;
  let phase = "warm";
  let books = 0;
  let over = false;
  const seen = new Set();
  const end = (/** @type {any} */ level, /** @type {string} */ text) => {
    if (over) return;
    over = true;
    tell(level, text, true);
    socket.close();
  };
  socket.onopen = () => {
    socket.send(JSON.stringify({ op: "hello", client: "market-gateway-page stalled" }));
    socket.send(JSON.stringify({ op: "subscribe", topics }));
    tell("note", `Second connection open, ${topics.length} streams`);
    setTimeout(block, WARM);
  };
  socket.onmessage = ({ data }) => {
    bytes += data.length;
    if (phase !== "after") return;
    const frame = JSON.parse(data);
    if (frame.type === "warning") warned(frame);
    else if (frame.type === "gap" && frame.reason === "CLIENT_SLOW") gap(frame);
    else if (frame.type === "orderbook" && seen.has("warning") && books++ === 0) {
      tell("good", `Newest book, ${Date.now() - frame.ts.tx} ms old`);
    }
  };
  socket.onclose = ({ code }) => {
    const why = code === 4101 || code === 1006 ? "it had taken nothing for too long" : "";
    end("bad", `The gateway cut the stalled connection (code ${code})${why ? `: ${why}` : ""}`);
  };

  function block() {
    tell("wait", `${(bytes / 1_048_576).toFixed(1)} MiB read; now it stops reading for ${BLOCKED / 1000} s`);
    phase = "blocked";
    sleep(BLOCKED);
    phase = "after";
    tell("note", "Reading again");
    setTimeout(() => end("note", seen.size ? "It is up to date" : "It was never behind: what lies between took it all"), AFTER);
  }

  /** Without turning: pages that are not isolated have no SharedArrayBuffer but this one. @param {number} ms */
  function sleep(ms) {
    const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    Atomics.wait(new Int32Array(buffer), 0, 0, ms);
  }

  /** @param {any} frame */
  function warned({ topics: behind }) {
    if (seen.has("warning")) return;
    seen.add("warning");
    const events = behind.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + (one.events ?? 0), 0);
    tell("wait", `CLIENT_LAGGED: ${events} frames of ${behind.length} streams passed over`);
  }

  /** @param {any} frame */
  function gap({ channel, missing, events }) {
    const key = `gap ${channel}`;
    if (seen.has(key)) return;
    seen.add(key);
    tell("wait", `Gap, CLIENT_SLOW: ${channel === "trades" ? `${missing} trades` : `${events} frames of candles`} declared missing`);
  }
};
