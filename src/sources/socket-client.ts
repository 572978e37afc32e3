import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Clock } from "../core/clock.ts";
import { within } from "../core/deadline.ts";
import { messageOf } from "../core/errors.ts";
import { backoffMs, type RetrySchedule } from "../core/retry.ts";
import { LoopSource } from "./loop-source.ts";
import { socketAddress } from "./socket-address.ts";
import { readSocket, type SocketStream } from "./socket-stream.ts";
import type { WaitingSink } from "./source.ts";

/** A device that was switched off and on should be read again within seconds. */
const schedule: RetrySchedule = { baseMs: 250, maxMs: 5_000, healthyMs: 10_000 };
const connectTimeoutMs = 10_000;

/** Frames of a device that serves a TCP or unix socket. Connects again by itself, for ever. */
export class SocketClient extends LoopSource {
  readonly #address: string;
  readonly #stream: SocketStream;
  readonly #sink: WaitingSink;
  readonly #clock: Clock;

  constructor(address: string, stream: SocketStream, sink: WaitingSink, clock: Clock) {
    super(sink);
    this.#address = address;
    this.#stream = stream;
    this.#sink = sink;
    this.#clock = clock;
  }

  protected override async run(signal: AbortSignal): Promise<void> {
    let attempt = -1;
    this.set({ state: "opening", reason: undefined });
    while (!signal.aborted) {
      let openedAt: number | undefined;
      try {
        const socket = await this.#connect(signal);
        openedAt = this.#clock.monotonic();
        this.set({ state: "open", reason: undefined });
        const reason = await readSocket(socket, this.#stream, this.#sink, this.#clock, signal);
        if (!signal.aborted) this.set({ state: "absent", reason: `${this.#address}: ${reason}` });
      } catch (error) {
        if (!signal.aborted)
          this.set({ state: stateOf(error), reason: `${this.#address}: ${messageOf(error)}` });
      }
      if (signal.aborted) break;
      const healthy = openedAt !== undefined && this.#clock.monotonic() - openedAt >= schedule.healthyMs;
      attempt = healthy ? 0 : attempt + 1;
      await this.#clock.sleep(backoffMs(schedule, attempt, Math.random()), signal).catch(() => undefined);
    }
    this.set({ state: "stopped", reason: undefined });
  }

  async #connect(signal: AbortSignal): Promise<Socket> {
    const socket = connect(socketAddress(this.#address));
    // Whoever awaits it is told; one that comes later, of a socket given up, is nobody's.
    socket.on("error", () => undefined);
    try {
      await within(once(socket, "connect"), connectTimeoutMs, "connecting", signal, "SOCKET_UNAVAILABLE");
      return socket;
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }
}

/** A unix socket that we may not open is there. */
function stateOf(error: unknown): "absent" | "failed" {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "EACCES" || code === "EPERM" ? "failed" : "absent";
}
