import type { FrameDiscard } from "../core/reading.ts";
import type { RaisedAlarm } from "../detect/raised-alarms.ts";
import type { Asked } from "./polling-source.ts";
import type { WriteOutcome } from "./register-write.ts";

export interface SourceStatus {
  /** `absent`: the device is not there; `failed`: it is, and cannot be used. Both are tried again for ever. */
  readonly state: "opening" | "open" | "absent" | "failed" | "stopped";
  readonly reason: string | undefined;
}

/** Where a source's frames go. */
export interface SourceSink {
  /** The bytes are copied. False when there is no room; a source that can wait repeats, others lose the frame. */
  frame(bytes: Uint8Array, origin?: string): boolean;
  /** `frame`: what of it is at hand, for the log. */
  discard(reason: FrameDiscard, bytes: number, frame?: Uint8Array): void;
  /** Called on every change, and only then. */
  status(status: SourceStatus): void;
}

/** For sources whose other end waits for an answer. */
export interface WaitingSink extends SourceSink {
  /** Whether a frame of so many bytes would be taken now; a source that can wait asks first, and loses nothing. */
  hasRoom(bytes: number): boolean;
  /** Resolves when what was taken last is durable; the same promise for all that one commit takes along. */
  committed(): Promise<void>;
}

export interface Source {
  start(): void;
  /**
   * Ends within a few seconds whatever the device does; safe without start, safe twice.
   * `forGood`: nobody will go on where it ends, so the other end need keep nothing.
   */
  stop(forGood?: boolean): Promise<void>;
  /** Sets a value in the device, within a deadline; absent where nothing can be set. Never rejects. */
  write?(channel: string, value: number): Promise<WriteOutcome>;
  /** An alarm was committed, of whatever source; absent where nothing follows from it. */
  raised?(alarm: RaisedAlarm): void;
  /** Takes a picture out of turn; absent where there is no camera to be asked. Never rejects. */
  takePicture?(): Promise<Asked>;
}
