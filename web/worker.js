/**
 * The script of a worker that has the connection for pages: `new SharedWorker("/worker.js", { type: "module" })` for all
 * tabs of one origin, or `new Worker(…)` for one. Give it to `connect` as the option `worker`.
 *
 * Messages are lists: what to do, and with what. `Port` in client.js is the other end.
 */

import { Core } from "./client.js";

/** @import { Options } from "./client.d.ts" */
/** @import { Hub, Watcher } from "./internals.d.ts" */

const FACTS_EVERY = 1_000; // milliseconds

/** @type {Map<string, Hub>} one for each gateway, for all pages */
const hubs = new Map();

/** Be the core of the page behind `port`, together with other pages of the same gateway. @param {any} port */
function serve(port) {
  /** @type {Hub} */
  let hub;
  let name = "";
  /** @type {Map<number, Watcher>} */
  const watchers = new Map();
  /** @type {Record<string, (...values: any[]) => void>} */
  const doing = {
    open(url, options) {
      name = JSON.stringify([url, options]);
      hub = hubs.get(name) ?? opened(name, url, options);
      hub.ports.add(port);
      hub.awake.add(port);
      port.postMessage(["facts", hub.core.facts]);
    },
    held: (lock) => void navigator.locks.request(lock, () => doing.close()),
    join(id, channel, topic, how) {
      /** @type {Watcher} */
      const watcher = {
        channel,
        topic,
        how,
        take: (update) => port.postMessage(["take", id, update]),
        tell: (type, event) => port.postMessage(["watcher", id, type, event]),
      };
      watchers.set(id, watcher);
      hub.core.join(watcher);
    },
    leave(id) {
      const watcher = watchers.get(id);
      if (watcher) hub.core.leave(watcher);
      watchers.delete(id);
    },
    pause() {
      hub.awake.delete(port);
      if (!hub.awake.size) hub.core.pause();
    },
    resume() {
      hub.awake.add(port);
      hub.core.resume();
    },
    close() {
      if (!hub.ports.delete(port)) return; // it said so itself, and then gave up its lock
      for (const id of [...watchers.keys()]) doing.leave(id);
      if (hub.ports.size) {
        hub.awake.add(port);
        doing.pause();
      } else {
        hub.core.close();
        hub.stop();
        hubs.delete(name);
      }
    },
  };
  port.onmessage = (/** @type {any} */ { data: [what, ...values] }) => doing[what](...values);
}

/** @param {string} name @param {string} url @param {Options} options @returns {Hub} */
function opened(name, url, options) {
  const ports = new Set();
  const post = (/** @type {any[]} */ ...message) => ports.forEach((port) => port.postMessage(message));
  const core = new Core(url, options, (type, event) => {
    if (type === "status") post("facts", core.facts); // before the event: who hears of it may look
    if (type !== "frame") post("tell", type, event);
  });
  const timer = setInterval(() => post("facts", core.facts), FACTS_EVERY);
  const hub = { core, ports, awake: new Set(), stop: () => clearInterval(timer) };
  hubs.set(name, hub);
  return hub;
}

const scope = /** @type {any} */ (globalThis);
if (scope.SharedWorkerGlobalScope) scope.onconnect = (/** @type {any} */ event) => serve(event.ports[0]);
else serve(scope);
