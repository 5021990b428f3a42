/**
 * Runs one block of the guide as its reader would, and then looks at what it did: `node harness.js <name> <file>`.
 *
 * What the block prints is collected; a browser's globals are there as far as a check asks for them (checks.js).
 */
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { format } from "node:util";
import { WebSocket } from "ws";

import { checks } from "./checks.js";

const PATIENCE = 20_000; // milliseconds
const { GATEWAY_URL: base, SIMULATOR_URL: simulator } = process.env;
const [name, file] = process.argv.slice(2);

/** Remembers what is sent, and can be made to lose a frame. */
class Recorded extends WebSocket {
  static all = [];
  sent = [];
  loses = null;

  constructor(...words) {
    super(...words);
    Recorded.all.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
    super.send(text);
  }

  set onmessage(handler) {
    super.onmessage = handler && ((event) => {
      if (!this.loses?.(JSON.parse(event.data))) handler(event);
      else this.loses = null;
    });
  }
}
globalThis.WebSocket = Recorded;

const lines = [];
console.log = (...words) => lines.push(format(...words));

async function until(condition, what = String(condition)) {
  for (const end = Date.now() + PATIENCE; ; await new Promise((resolve) => setTimeout(resolve, 10))) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not in time: ${what}\n${lines.slice(-30).join("\n")}`);
  }
}

async function control(path, body) {
  const answer = await fetch(`${simulator}/control/${path}`, { method: "POST", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
}

async function ask(method, body) {
  const answer = await fetch(`${base}/v1/${method}`, { method: "POST", body: JSON.stringify(body) });
  return answer.json();
}

const { before, check } = checks[name];
const context = { base, lines, until, control, ask, sockets: Recorded.all, line: (words) => until(() => lines.find((line) => words.test(line)), `a line like ${words}`) };
await before?.(context);
context.text = await readFile(file, "utf8");
context.module = file.endsWith("js") ? await import(pathToFileURL(file)) : null;
await check(context);
process.exit();
