import type { Framing } from "../../../src/config/framing-schema.ts";
import { framing as framingSchema } from "../../../src/config/framing-schema.ts";
import { systemClock } from "../../../src/core/clock.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import type { Framer } from "../../../src/sources/framer.ts";
import { framerOf } from "../../../src/sources/framing.ts";
import type { Attempt, Tried } from "./fuzz.ts";
import type { Input } from "./inputs.ts";

export interface FramerVariant {
  readonly framing: JsonObject;
  /** What stands on the wire for frames that it gives. */
  readonly good: readonly Uint8Array[];
  /** What the bytes of a stream come to that are in no discard: of its frames, and of what stands around them. */
  readonly account: Account;
  /** Another framer in place of the one that is configured. */
  readonly make?: (framing: Framing, sink: Parameters<typeof framerOf>[1]) => Framer;
}
/** How many bytes of the stream are neither told as a frame nor as a discard: at least and at most. */
export type Account = (
  frames: readonly Uint8Array[],
  stream: Uint8Array,
) => { readonly least: number; readonly most: number };

interface Told {
  readonly frames: Uint8Array[];
  /** Frames and discards, as they came. */
  readonly all: string[];
  discarded: number;
  problem: string | undefined;
}

/**
 * A framer for its whole life: each input is a connection that breaks at its end. Another one gets the same in other
 * pieces, and must give the same.
 */
export function judgedFramer({ framing, good, account, make }: FramerVariant): Tried {
  const config = framingSchema.parse(framing);
  const [whole, split] = [new Fed(config, make), new Fed(config, make)];
  return {
    good,
    attempt: (input, random) => {
      const told = whole.feed([input.bytes]);
      const problem =
        told.problem ??
        judgedAccount(told, input, account) ??
        judgedSplit(told, split.feed(pieces(input.bytes, random))) ??
        ("checksum" in config && config.checksum ? judgedFlip(told, input, whole) : undefined);
      return { isTaken: told.frames.length > 0, problem } satisfies Attempt;
    },
  };
}

/** A framer that is fed, and what it told. */
class Fed {
  readonly #framer: Framer;
  #told: Told = nothing();

  constructor(config: Framing, make: FramerVariant["make"]) {
    const { maxBytes } = config;
    // What comes before the first end of all was never held.
    const isWhole = "first" in config && config.first === "keep";
    const sink: Parameters<typeof framerOf>[1] = {
      frame: (bytes) => {
        this.#told.frames.push(Uint8Array.from(bytes));
        this.#told.all.push(Buffer.from(bytes).toString("latin1"));
        if (bytes.length > maxBytes) this.#told.problem = `gave a frame of ${bytes.length} bytes`;
      },
      discard: (reason, bytes, shown) => {
        this.#told.all.push(`${reason} ${bytes}`);
        this.#told.discarded += bytes;
        if (!(bytes > 0)) this.#told.problem = `discarded ${bytes} bytes`;
        if (reason === "truncated" && bytes > maxBytes && isWhole)
          this.#told.problem = `held ${bytes} bytes back`;
        if (shown && shown.length > Math.min(bytes, maxBytes))
          this.#told.problem = `showed ${shown.length} bytes of ${bytes}`;
      },
    };
    this.#framer = make ? make(config, sink) : framerOf(config, sink, systemClock);
  }

  feed(chunks: readonly Uint8Array[]): Told {
    this.#told = nothing();
    for (const chunk of chunks) this.#framer.push(chunk);
    this.#framer.reset();
    return this.#told;
  }
}

const nothing = (): Told => ({ frames: [], all: [], discarded: 0, problem: undefined });

export function pieces(bytes: Uint8Array, random: () => number): Uint8Array[] {
  const all: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + Math.floor(random() ** 2 * (bytes.length - at));
    all.push(bytes.subarray(at, end));
    at = end;
  }
  return all;
}

function judgedAccount({ frames, discarded }: Told, { bytes }: Input, account: Account): string | undefined {
  const { least, most } = account(frames, bytes);
  const inFrames = frames.reduce((sum, frame) => sum + frame.length, 0);
  const untold = bytes.length - inFrames - discarded;
  return untold >= least && untold <= most
    ? undefined
    : `left ${untold} bytes untold, not ${least} to ${most}`;
}

function judgedSplit(told: Told, split: Told): string | undefined {
  if (split.problem !== undefined) return `${split.problem}, in pieces`;
  const isSame = told.all.length === split.all.length && told.all.every((one, i) => one === split.all[i]);
  return isSame ? undefined : "gave something else when it came in pieces";
}

/** One wrong bit: another frame is the one thing that a checksum is for. */
function judgedFlip(told: Told, { flippedOf }: Input, fed: Fed): string | undefined {
  if (flippedOf === undefined || told.frames.length === 0) return undefined;
  const sent = new Set(fed.feed([flippedOf]).frames.map((frame) => Buffer.from(frame).toString("hex")));
  const isSame = told.frames.every((frame) => sent.has(Buffer.from(frame).toString("hex")));
  return isSame
    ? undefined
    : `gave another frame for one wrong bit of ${Buffer.from(flippedOf).toString("hex")}`;
}
