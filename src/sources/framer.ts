import type { FrameDiscard } from "../core/reading.ts";

export interface FrameSink {
  frame(bytes: Uint8Array): void;
  /** `frame`: what of it is at hand, for the log. */
  discard(reason: FrameDiscard, bytes: number, frame?: Uint8Array): void;
}

/** Cuts a stream of bytes into frames, whatever the chunks are that it comes in. What it holds is bounded. */
export interface Framer {
  /** Frames handed on are valid only during the call. */
  push(chunk: Uint8Array): void;
  /** The stream broke: what is held is the beginning of a frame whose end never comes. */
  reset(): void;
}
