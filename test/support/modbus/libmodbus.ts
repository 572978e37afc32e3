import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Cable } from "./cable.ts";
import { requestsOf } from "./units.ts";

let program: string | undefined;

/** Compiled once per process. @throws Error that says what to install */
function compiled(): string {
  if (program) return program;
  const folder = mkdtempSync(join(tmpdir(), "headgate-libmodbus-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const source = fileURLToPath(new URL("server.c", import.meta.url));
  const output = join(folder, "server");
  const options = ["-O1", "-Wall", "-I/usr/include/modbus", "-o", output, source, "-lmodbus"];
  try {
    execFileSync("cc", options, { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    throw new Error("tests of Modbus need a C compiler and libmodbus (Debian: gcc libc6-dev libmodbus-dev)", {
      cause: error,
    });
  }
  program = output;
  return output;
}

/** Lines such as `holding 0 1234`, and `unit 2` before those of another unit. */
export type Values = readonly string[];

/** A process of libmodbus. */
export class LibmodbusServer {
  readonly #child: ChildProcess;
  readonly #port: Promise<number>;

  constructor(args: readonly string[], values: Values) {
    this.#child = spawn(compiled(), args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdin?.write([...values, "serve", ""].join("\n"));
    this.#port = new Promise((resolve, reject) => {
      let text = "";
      this.#child.stdout?.on("data", (chunk) => {
        text += chunk;
        const port = /^ready (\d+)\n/.exec(text)?.[1];
        if (port !== undefined) resolve(Number(port));
      });
      this.#child.once("exit", (code) => reject(new Error(`libmodbus ended with ${code}`)));
    });
  }

  /** Resolves when it serves, for TCP with its port. */
  ready(): Promise<number> {
    return this.#port;
  }

  /** It hears nothing, and its connections stay, as of a device that has lost its network. */
  freeze(): void {
    this.#child.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child.kill("SIGCONT");
  }

  async stop(): Promise<void> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await ended;
  }
}

/**
 * Units of libmodbus on one serial line. Each hears what is meant for it: libmodbus takes what follows a request to
 * another unit for the answer of that one, which an absent unit never gives.
 */
export class SerialBus {
  readonly cable = new Cable(
    requestsOf(({ unit, frame }) => {
      for (const { number, own } of this.#units)
        if (number === unit && !this.cutOff.has(number)) own.write(frame);
    }),
  );
  /** Units that the line does not reach. */
  readonly cutOff = new Set<number>();
  readonly #units: { readonly number: number; readonly own: Cable; readonly server: LibmodbusServer }[] = [];

  get path(): string {
    return this.cable.path;
  }

  async unit(number: number, values: Values): Promise<void> {
    const own = new Cable((bytes) => this.cable.write(bytes));
    const server = new LibmodbusServer(["rtu", own.path, "19200", String(number)], values);
    this.#units.push({ number, own, server });
    await server.ready();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#units.map(({ server }) => server.stop()));
    for (const { own } of this.#units) own.stop();
    this.cable.stop();
  }
}
