import { setTimeout as delay } from "node:timers/promises";
import { SerialPort } from "serialport";

/** The gateway's end, with the real package: what it reads, in order, and how it ended. */
export class Listener {
  readonly port: SerialPort;
  readonly closed: Promise<void>;
  #bytes = Buffer.alloc(0);

  constructor(port: SerialPort) {
    this.port = port;
    port.on("data", (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
    });
    this.closed = new Promise((resolve) => {
      port.once("close", () => resolve());
      // A hang-up may come as an error first; without a listener it would end the process.
      port.on("error", () => resolve());
    });
  }

  get bytes(): Buffer {
    return this.#bytes;
  }

  /** One string per closed line, one character per byte, without the newline. */
  get lines(): string[] {
    return this.#bytes.toString("latin1").split("\n").slice(0, -1);
  }

  async close(): Promise<void> {
    if (!this.port.isOpen) return;
    await new Promise<void>((resolve) => this.port.close(() => resolve()));
  }
}

export async function listen(path: string, baudRate = 115_200): Promise<Listener> {
  const port = new SerialPort({ path, baudRate, autoOpen: false });
  await new Promise<void>((resolve, reject) => port.open((error) => (error ? reject(error) : resolve())));
  return new Listener(port);
}

/** Less than a test may take, so that a test that fails also ends; not a claim about how long anything takes. */
const MAX_WAIT_MS = 25_000;

export async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + MAX_WAIT_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`still not so: ${condition}`);
    await delay(5);
  }
}
