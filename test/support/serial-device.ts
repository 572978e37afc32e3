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

  /**
   * Sends until the kernel took it: what leaves the device before somebody listens is lost, as on a real line.
   * Returns who listened, a number that changes whenever the port is opened or flushed.
   */
  async send(text: string): Promise<number> {
    for (;;) {
      // The fate may be known before the line has had its time on the wire, or after; both have to be over.
      let settle: (fate: Fate) => void = () => undefined;
      const fate = new Promise<Fate>((resolve) => {
        settle = resolve;
      });
      await this.line.send(Buffer.from(text, "latin1"), settle);
      const known = await fate;
      if (known.outcome === "sent") return known.listener;
      await systemClock.sleep(20);
    }
  }

  async stop(): Promise<void> {
    await this.line.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
