import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { type Fate, SerialLine } from "../../src/simulated-devices/serial-line.ts";

/** A device on a pseudo-terminal, under a path of its own. */
export class SerialDevice {
  readonly #folder = mkdtempSync(join(tmpdir(), "headgate-test-"));
  readonly path = join(this.#folder, "tty-device");
  readonly line = new SerialLine({
    path: this.path,
    baudRate: 1_000_000,
    clock: systemClock,
    onReceived: () => undefined,
  });

  /** Sends until the kernel took it: what leaves the device before somebody listens is lost, as on a real line. */
  async send(text: string): Promise<void> {
    for (;;) {
      const fate = await new Promise<Fate>((resolve, reject) => {
        this.line.send(Buffer.from(text, "latin1"), resolve).catch(reject);
      });
      if (fate.outcome === "sent") return;
      await systemClock.sleep(20);
    }
  }

  async stop(): Promise<void> {
    await this.line.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
