import type { Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { First, Framing } from "../config/framing-schema.ts";
import type { Clock } from "../core/clock.ts";
import { within } from "../core/deadline.ts";
import { messageOf } from "../core/errors.ts";
import { framerOf } from "./framing.ts";
import type { WaitingSink } from "./source.ts";

/** The kernel asks an end that is silent for so long whether it is still there, and gives it up ten seconds later. */
const keepAliveMs = 30_000;
/** What is pushed at once, after asking whether there is room for whatever frames it may bring. */
const pieceBytes = 512;
/** In the queue a frame takes 64 bytes besides its own, and the shortest has two on the wire with its end. */
const mostPerByte = 33;
const noRoomMs = 1_000;
/** Other sources are read in between. */
const bytesPerTurn = 16_384;

export interface SocketStream {
  readonly framing: Framing;
  /** Whether a connection may begin in the middle of a frame, where the framing leaves it open. */
  readonly first: First;
  /** Undefined: silence is no reason to close. */
  readonly idleTimeoutMs: number | undefined;
}

/**
 * Frames what a connection brings until it ends, and resolves with the reason. While there is no room it reads nothing,
 * so that the other end has to wait, and nothing is lost.
 */
export async function readSocket(
  socket: Socket,
  { framing, first, idleTimeoutMs }: SocketStream,
  sink: WaitingSink,
  clock: Clock,
  signal: AbortSignal,
): Promise<string> {
  const framer = framerOf(framing, sink, clock, first);
  const needed = framing.maxBytes + pieceBytes * mostPerByte;
  let isWaiting = false;
  const onStop = () => socket.destroy();
  signal.addEventListener("abort", onStop, { once: true });
  socket.setKeepAlive(true, keepAliveMs);
  if (idleTimeoutMs !== undefined) {
    socket.setTimeout(idleTimeoutMs);
    socket.on("timeout", () => {
      // A silence of our own making says nothing about the other end.
      if (isWaiting) socket.setTimeout(idleTimeoutMs);
      else socket.destroy(new Error(`silent for ${idleTimeoutMs} ms`));
    });
  }
  try {
    let inTurn = 0;
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length; at += pieceBytes) {
        while (!sink.hasRoom(needed)) {
          isWaiting = true;
          // A commit makes room, and comes early when somebody waits for it; the store may also take nothing for long.
          await within(sink.committed(), noRoomMs, "a commit", signal).catch(() => undefined);
          if (signal.aborted) return "stopped";
        }
        isWaiting = false;
        framer.push(chunk.subarray(at, at + pieceBytes));
        inTurn += pieceBytes;
        if (inTurn >= bytesPerTurn) {
          inTurn = 0;
          await nextTurn();
        }
        // What was on its way when the source was stopped is no longer its own.
        if (signal.aborted) return "stopped";
      }
    }
    return "closed by the other end";
  } catch (error) {
    return messageOf(error);
  } finally {
    framer.reset();
    signal.removeEventListener("abort", onStop);
    socket.destroy();
  }
}
