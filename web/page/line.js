/** A WebSocket that can be held down, to see what coming back is like: the client takes it for its runtime's own. */

let heldUntil = 0;
/** @type {Set<WebSocket>} */
const open = new Set();

/** What the client is given as its WebSocket. @param {string} url @returns {any} */
export function Line(url) {
  if (Date.now() < heldUntil) return new DeadLine();
  const socket = new WebSocket(url);
  open.add(socket);
  socket.addEventListener("close", () => open.delete(socket));
  return socket;
}

/** Cut every connection, and let none be made for so long. @param {number} ms */
export function holdDown(ms) {
  heldUntil = Date.now() + ms;
  for (const socket of open) socket.close();
  setTimeout(() => dispatchEvent(new Event("online")), ms + 1); // as the browser says it
}

/** Fails as an unreachable host does, without the browser's complaint in its console. */
class DeadLine extends EventTarget {
  readyState = 3;
  /** @type {((event: any) => void) | null} */
  onclose = null;
  onopen = null;
  onmessage = null;
  onerror = null;

  constructor() {
    super();
    setTimeout(() => this.onclose?.({ code: 1006, reason: "" }));
  }

  send() {}
  close() {}
}
