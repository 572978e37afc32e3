import { once } from "node:events";
import { lstat, unlink } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../core/clock.ts";
import { aborted, within } from "../core/deadline.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import { backoffMs, type RetrySchedule } from "../core/retry.ts";
import { LoopSource } from "./loop-source.ts";
import { socketAddress } from "./socket-address.ts";
import { readSocket, type SocketStream } from "./socket-stream.ts";
import type { WaitingSink } from "./source.ts";
import { Unavailable } from "./unavailable.ts";

/** What is in the way may be a process that is about to end, or an address that is about to come. */
const schedule: RetrySchedule = { baseMs: 250, maxMs: 5_000, healthyMs: 0 };
const probeTimeoutMs = 1_000;

export interface SocketServerOptions extends SocketStream {
  readonly address: string;
  readonly maxConnections: number;
  /** Permissions of a unix socket's file. */
  readonly mode: number;
}

/** Frames of devices that connect to a TCP or unix socket of ours; each connection is a stream of its own. */
export class SocketServer extends LoopSource {
  readonly #options: SocketServerOptions;
  readonly #sink: WaitingSink;
  readonly #clock: Clock;
  readonly #connections = new Set<Promise<unknown>>();

  constructor(options: SocketServerOptions, sink: WaitingSink, clock: Clock) {
    super(sink);
    this.#options = options;
    this.#sink = sink;
    this.#clock = clock;
  }

  protected override async run(signal: AbortSignal): Promise<void> {
    this.set({ state: "opening", reason: undefined });
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        const server = await this.#listen();
        // A connection that could not be accepted, such as for want of file descriptors.
        server.on("error", (error) => this.set({ state: "open", reason: messageOf(error) }));
        this.set({ state: "open", reason: undefined });
        await aborted(signal);
        const closed = once(server, "close");
        server.close();
        await Promise.all([closed, ...this.#connections]);
      } catch (error) {
        if (!signal.aborted)
          this.set({
            state: "failed",
            reason: `listening on ${this.#options.address}: ${messageOf(error)}`,
          });
        await this.#clock.sleep(backoffMs(schedule, attempt, Math.random()), signal).catch(() => undefined);
      }
    }
    this.set({ state: "stopped", reason: undefined });
  }

  async #listen(): Promise<Server> {
    const address = socketAddress(this.#options.address);
    const server = createServer((socket) => this.#take(socket));
    server.maxConnections = this.#options.maxConnections;
    server.on("drop", () => {
      const reason = `${this.#options.maxConnections} connections are open, others are refused`;
      this.set({ state: "open", reason });
    });
    if (!("path" in address)) {
      await listening(server, () => server.listen(address));
      return server;
    }
    const open = () => {
      // The file is there with its permissions from the first moment on: a later change would leave a gap.
      const before = process.umask(0o777 & ~this.#options.mode);
      try {
        server.listen(address);
      } finally {
        process.umask(before);
      }
    };
    try {
      await listening(server, open);
    } catch (error) {
      if (!isInUse(error)) throw error;
      await removeStale(address.path);
      await listening(server, open);
    }
    return server;
  }

  #take(socket: Socket): void {
    // What breaks a connection is told by the reading of it.
    socket.on("error", () => undefined);
    const read = readSocket(socket, this.#options, this.#sink, this.#clock, this.signal);
    const ended = read.then(() => {
      this.#connections.delete(ended);
      if (this.state === "open") this.set({ state: "open", reason: undefined });
    });
    this.#connections.add(ended);
  }
}

async function listening(server: Server, open: () => void): Promise<void> {
  const done = once(server, "listening");
  open();
  await done;
}

const isInUse = (error: unknown) => hasCode(error, "EADDRINUSE");

/**
 * A process that was killed leaves the file of its socket behind, and nobody could listen there again.
 * @throws Unavailable when somebody listens, or the file is another's
 */
async function removeStale(path: string): Promise<void> {
  if (!(await lstat(path)).isSocket())
    throw new Unavailable("SOCKET_UNAVAILABLE", "failed", "the file is there and is no socket");
  const probe = connect({ path });
  probe.on("error", () => undefined);
  try {
    await within(
      once(probe, "connect"),
      probeTimeoutMs,
      "asking who listens",
      undefined,
      "SOCKET_UNAVAILABLE",
    );
  } catch (error) {
    if (!hasCode(error, "ECONNREFUSED")) throw error;
    await unlink(path);
    return;
  } finally {
    probe.destroy();
  }
  throw new Unavailable("SOCKET_UNAVAILABLE", "failed", "another process listens there");
}
