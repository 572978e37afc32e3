import { mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openPseudoTerminal, type PseudoTerminal } from "../../../src/simulated-devices/pty.ts";

/** How often the device's end looks: a millisecond is two characters at 19,200 baud. */
const lookMs = 1;

/** The devices' end of a serial line, under a path of its own; what is written is there at once. */
export class Cable {
  readonly #folder = mkdtempSync(join(tmpdir(), "headgate-line-"));
  readonly path = join(this.#folder, "tty-line");
  readonly #received: (bytes: Buffer) => void;
  #terminal: PseudoTerminal | undefined;
  #look: NodeJS.Timeout | undefined;

  constructor(received: (bytes: Buffer) => void) {
    this.#received = received;
    this.plug();
  }

  plug(): void {
    if (this.#terminal) return;
    const terminal = openPseudoTerminal();
    symlinkSync(terminal.slavePath, `${this.path}.new`);
    renameSync(`${this.path}.new`, this.path);
    this.#terminal = terminal;
    this.#look = setInterval(() => {
      for (const bytes of terminal.observe().received) this.#received(bytes);
    }, lookMs);
  }

  unplug(): void {
    clearInterval(this.#look);
    rmSync(this.path, { force: true });
    this.#terminal?.close();
    this.#terminal = undefined;
  }

  /** Nothing while it is unplugged, as of a device that speaks into no line. */
  write(bytes: Uint8Array): void {
    this.#terminal?.write(bytes);
  }

  stop(): void {
    this.unplug();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
