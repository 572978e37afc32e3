import type { z as Zod } from "zod";
import { type Problem, TransientError } from "../core/errors.ts";
import type { FrameDiscard, KnownChannel } from "../core/reading.ts";

/** Values of one device at one time, in the order of the driver's channels; a channel without a value is absent. */
export type DriverValues = readonly (readonly [channel: string, value: number])[];

/**
 * A device the gateway knows, as one declaration: configuration schema, documentation, validation ranges and tests
 * derive from it. It opens nothing and reads no clock; a source holds the conversations that it describes.
 */
export interface Driver<Options = object> {
  /** As the configuration names it. */
  readonly name: string;
  /** Maker, part, what it measures. */
  readonly title: string;
  /** The document that the numbers in the code are from, and where it is. */
  readonly datasheet: string;
  /** Members of the configuration's `options`, given zod; no options when absent. */
  options?(z: typeof Zod): Readonly<Record<string, Zod.ZodType>>;
  /** What options contradict among themselves; paths begin below `options`. */
  contradictions?(options: Options): readonly Problem[];
  /** Unit and physical range of each channel. */
  channels(options: Options): Readonly<Record<string, KnownChannel>>;
  /** What a frame says, whatever its bytes are. Pure. */
  decode(frame: Uint8Array, options: Options): DriverValues | { readonly discard: FrameDiscard };
  /** At least one good and one bad, the datasheet's own example first where it has one. */
  readonly vectors: readonly Vector<Options>[];
}

/** A frame, and what it says. */
export interface Vector<Options> {
  readonly title: string;
  readonly options?: Partial<Options>;
  /** Hex; white space does not count. */
  readonly frame: string;
  readonly expected: Readonly<Record<string, number>> | { readonly discard: FrameDiscard };
  /** Largest difference of a value; default: 1e-9 of it. */
  readonly tolerance?: number;
}

/** One transaction of a bus: a write, a read, or both joined by a repeated start (UM10204 section 3.1.10). */
export interface Exchange {
  readonly write?: readonly number[];
  /** How many bytes to read. */
  readonly read?: number;
}
/** Other chips of the bus go on meanwhile. */
export interface Pause {
  readonly waitMs: number;
}
/** Exchanges with a chip, one after the other; `yield` gives what was read. */
export type Conversation<Result = Uint8Array> = Generator<Exchange | Pause, Result, Uint8Array>;

export interface I2cDriver<Options = object> extends Driver<Options> {
  /** 7-bit addresses that the chip can be set to, the usual one first; `any`: the configuration has to say. */
  readonly addresses: readonly number[] | "any";
  /**
   * Of a chip that measures by itself: it has something new at least as often. One that has not is failed, and made
   * ready again: it may have lost its power in between, and have acknowledged ever since.
   */
  readonly longestGapMs?: number;
  /**
   * Makes the chip ready, after a power cycle too; what it returns goes to every `measure`.
   * @throws WrongChip when another chip answers, before anything is written to it
   */
  setup(options: Options): Conversation;
  /**
   * Takes the values of one time; what it returns is the frame, with all that `decode` needs. Undefined when the chip
   * has measured nothing since it was asked last. What a power cycle between two measurements would change silently,
   * such as a gain, is set here and not in `setup`.
   */
  measure(options: Options, known: Uint8Array): Conversation<Uint8Array | undefined>;
}

/** A thermometer whose conversation the kernel holds (w1_therm); its frame is what the file `w1_slave` says. */
export interface OneWireDriver extends Driver {
  /** First byte of the id, two digits of lower-case hex. */
  readonly family: string;
}

/** Something else answers at the address. */
export class WrongChip extends TransientError {
  constructor(what: string) {
    super("I2C_UNAVAILABLE", what);
  }
}
