import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import { RunningDaemon } from "../running-daemon.ts";
import { figuresOf } from "../soak/process-figures.ts";
import { monotonicMs, sleep } from "../time.ts";

export const sourceName = "posts";

/** A free port for each daemon, because two may not share one. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address ? address.port : 0;
}

/** A gateway with one source, of the API, and a hub that is away. */
export function startConfig(store: string, port: number, hubPort: number) {
  return {
    gateway: { name: "box" },
    sources: { [sourceName]: { type: "http", decode: { format: "json" }, device: { field: "device" } } },
    windows: { second: { sizeMs: 1_000 } },
    clock: { maxHoldMs: 0 },
    hub: { type: "mqtt", url: `mqtt://127.0.0.1:${hubPort}` },
    api: { port, token: { env: "START_TOKEN" } },
    store: { path: store, maxBytes: 4_000_000_000 },
  };
}

export interface StartTimes {
  readonly ms: number;
  /** What the process computed for it, in steps of 10 ms: says more than the time on a busy machine. */
  readonly cpuMs: number;
  /** What it fetched from the disk. */
  readonly readBytes: number;
}

/** A daemon on a store, of which the start is measured from outside. */
export class MeasuredStart {
  readonly #port: number;
  readonly #token = randomBytes(16).toString("hex");
  readonly #daemon: RunningDaemon;

  constructor(folder: string, store: string, port: number, hubPort: number) {
    mkdirSync(folder, { recursive: true });
    this.#port = port;
    this.#daemon = new RunningDaemon(folder, startConfig(store, port, hubPort), { START_TOKEN: this.#token });
  }

  /** From the start of the process to the answer of the first request that was committed. */
  async start(): Promise<StartTimes> {
    const began = monotonicMs();
    let ended = false;
    this.#daemon.start();
    this.#daemon.ended.then(() => {
      ended = true;
    });
    // Refused connections cost next to nothing; a wait between them would be measured.
    while (!(await this.#post('{"device":"first","temperature":21.5}')) && !ended) await sleep(2);
    if (ended) throw new Error(`the daemon ended; see ${this.#daemon.folder}/daemon.log`);
    const ms = monotonicMs() - began;
    const { cpuMs, readBytes } = figuresOf(this.#daemon.pid);
    return { ms, cpuMs, readBytes };
  }

  /** Readings that make the write-ahead log long, and that a start may have to replay. */
  async work(requests: number): Promise<void> {
    for (let i = 0; i < requests; i++) {
      const lines = Array.from({ length: 200 }, (_, line) =>
        JSON.stringify({ device: `device-${line % 10}`, temperature: 20 + line / 7, humidity: 40 + i / 3 }),
      );
      if (!(await this.#post(lines.join("\n"), "application/x-ndjson")))
        throw new Error("readings were refused");
      await sleep(20);
    }
  }

  async stop(): Promise<void> {
    await this.#daemon.stop();
  }

  async kill(): Promise<void> {
    await this.#daemon.kill();
  }

  #post(body: string, type = "application/json"): Promise<boolean> {
    return new Promise((resolve) => {
      const call = request(
        {
          host: "127.0.0.1",
          port: this.#port,
          path: `/api/readings?source=${sourceName}`,
          method: "POST",
          headers: { authorization: `Bearer ${this.#token}`, "content-type": type },
          agent: false,
        },
        (response) => {
          response.resume();
          response.on("end", () => resolve(response.statusCode === 200));
          response.on("error", () => resolve(false));
        },
      );
      call.on("error", () => resolve(false));
      call.end(body);
    });
  }
}
