/** A real gateway that a test may kill, stop and freeze. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";

/** A gateway on a port of its own, which it keeps over its restarts. */
export class Process {
  static async start(settings = {}) {
    const one = new Process();
    one.settings = settings;
    const probe = createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    one.port = probe.address().port;
    probe.close();
    await one.begin();
    return one;
  }

  /** Ends when it takes connections. */
  async begin() {
    const [command, ...words] = JSON.parse(process.env.START_GATEWAY);
    const { GATEWAY_URL, ...rest } = process.env; // no setting
    const env = { ...rest, GATEWAY_PORT: String(this.port), GATEWAY_LIMITS__HEARTBEAT: "1", ...this.settings };
    this.child = spawn(command, words, { env, stdio: ["ignore", "ignore", "pipe"] });
    this.exited = once(this.child, "exit");
    let said = "";
    for await (const text of this.child.stderr.iterator({ destroyOnReturn: false })) {
      said += text;
      if (said.includes("started")) break;
    }
    this.child.stderr.resume();
    if (!said.includes("started")) throw new Error(`it did not start: ${said}`);
  }

  async hasNoClients() {
    for (;;) {
      const status = await (await fetch(`http://127.0.0.1:${this.port}/v1/status`)).json();
      if (!status.clients) return;
      await new Promise((resolve) => setTimeout(resolve, 50)); // what another process does can only be polled
    }
  }

  async end(signal) {
    this.child.kill(signal);
    await this.exited;
  }
}
