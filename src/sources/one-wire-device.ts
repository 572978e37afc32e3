import { realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { OneWireSourceConfig } from "../config/schema.ts";
import { messageOf } from "../core/errors.ts";
import { KernelReads, readKernelFile } from "./kernel-file.ts";
import type { PolledDevice } from "./polling-source.ts";
import type { Turns } from "./turns.ts";
import { Unavailable } from "./unavailable.ts";

/** Of a reading with its turn: some twenty thermometers of one bus at 750 ms each, with room for retries of the kernel. */
const deadlineMs = 30_000;

/** A thermometer on 1-Wire: the kernel starts a measurement and waits for it whenever its file `w1_slave` is read. */
export class OneWireDevice implements PolledDevice {
  readonly name: string;
  /** The file has some 75. */
  readonly maxFrameBytes = 4_096;
  readonly #folder: string;
  readonly #turns: Turns;
  readonly #reads = new KernelReads(deadlineMs, "ONE_WIRE_UNAVAILABLE");
  #bus = "";

  constructor({ id, root }: OneWireSourceConfig, turns: Turns) {
    this.name = `${id} on 1-Wire`;
    this.#folder = join(root, id);
    this.#turns = turns;
  }

  async open(signal: AbortSignal): Promise<void> {
    const found = this.#reads.run(() => realpath(this.#folder), `finding ${this.#folder}`, signal);
    // The folder of a thermometer is in that of its bus, `w1_bus_master1`; what is in `root` is a link.
    this.#bus = dirname(await found.catch(unavailable));
  }

  async ask(signal: AbortSignal): Promise<Uint8Array> {
    const read = () => {
      if (signal.aborted) return Promise.reject(signal.reason);
      return readKernelFile(join(this.#folder, "w1_slave"));
    };
    const turn = () => this.#turns.take(`1-Wire ${this.#bus}`, read);
    const frame = await this.#reads.run(turn, `reading ${basename(this.#bus)}`, signal).catch(unavailable);
    // Newer kernels try five times and then say nothing; older ones say NO, which is a frame with a bad checksum.
    if (frame.length === 0)
      throw new Unavailable("ONE_WIRE_UNAVAILABLE", "absent", "the kernel got no valid answer from it");
    return frame;
  }

  async close(): Promise<void> {
    // Nothing stays open from one read to the next.
  }
}

function unavailable(error: unknown): never {
  if (!(error instanceof Error && "code" in error) || error instanceof Unavailable) throw error;
  const isGone = ["ENOENT", "ENODEV", "ENXIO"].includes(String(error.code));
  const reason = isGone ? "it is not on the bus" : messageOf(error);
  throw new Unavailable("ONE_WIRE_UNAVAILABLE", isGone ? "absent" : "failed", reason, { cause: error });
}
