import { isObject, type JsonValue } from "../core/json.ts";
import type { Logger } from "../core/logger.ts";
import type { MethodAnswer } from "../hub/hub-client.ts";
import type { WriteOutcome, WriteRefusal } from "../sources/register-write.ts";

export type WriteCounts = Readonly<Record<WriteOutcome["kind"], number>>;

const refusalStatus: Readonly<Record<WriteRefusal, number>> = {
  unknownSource: 404,
  unknownChannel: 404,
  notWritable: 403,
  outOfRange: 422,
};

/** The direct method `writeRegister`: sets a value in a field device where the local configuration allows it. */
export class RegisterWrites {
  readonly #write: (source: string, channel: string, value: number) => Promise<WriteOutcome>;
  readonly #log: Logger;
  readonly #counts: Record<WriteOutcome["kind"], number> = {
    written: 0,
    differs: 0,
    refused: 0,
    unsent: 0,
    exception: 0,
    unknown: 0,
  };

  constructor(write: (source: string, channel: string, value: number) => Promise<WriteOutcome>, log: Logger) {
    this.#write = write;
    this.#log = log;
  }

  /** Since the start. */
  get counts(): WriteCounts {
    return this.#counts;
  }

  /** Answers when the device has, or has not within its time. */
  async answer(payload: JsonValue): Promise<MethodAnswer> {
    const wanted = wantedOf(payload);
    if (!wanted) {
      const message = `send {"source": "…", "channel": "…", "value": a number or true or false}, and nothing else`;
      return { status: 400, payload: { message } };
    }
    const { source, channel, value } = wanted;
    const outcome = await this.#write(source, channel, value);
    this.#counts[outcome.kind]++;
    const level = outcome.kind === "written" ? "info" : "warn";
    this.#log[level](
      { source, channel, asked: value, ...outcome },
      `a register was to be set: ${outcome.kind}`,
    );
    return answerOf(outcome, wanted);
  }
}

interface Wanted {
  readonly source: string;
  readonly channel: string;
  readonly value: number;
}

function wantedOf(payload: JsonValue): Wanted | undefined {
  if (!isObject(payload)) return undefined;
  const { source, channel, value, ...more } = payload;
  if (typeof source !== "string" || typeof channel !== "string" || Object.keys(more).length > 0)
    return undefined;
  if (typeof value !== "number" && typeof value !== "boolean") return undefined;
  return { source, channel, value: Number(value) };
}

function answerOf(outcome: WriteOutcome, { source, channel }: Wanted): MethodAnswer {
  switch (outcome.kind) {
    case "written":
      return { status: 200, payload: { source, channel, value: outcome.value } };
    case "differs": {
      const message = "the device confirmed the value, and says another one";
      const { value, readBack } = outcome;
      // A float that is no number has no place in JSON.
      return {
        status: 409,
        payload: { message, value, readBack: Number.isFinite(readBack) ? readBack : null },
      };
    }
    case "refused":
      return { status: refusalStatus[outcome.reason], payload: { message: outcome.message } };
    case "exception": {
      const { code, name } = outcome;
      const message = `the device refuses it: exception ${code} (${name})`;
      return { status: 502, payload: { message, exception: { code, name } } };
    }
    case "unsent":
      return { status: 503, payload: { message: `nothing was sent: ${outcome.message}` } };
    case "unknown":
      return { status: 504, payload: { message: `it may be in force, or not: ${outcome.message}` } };
    default:
      return outcome satisfies never;
  }
}
