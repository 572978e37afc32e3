import type { Entry } from "../../src/core/entry.ts";
import type { JsonObject } from "../../src/core/json.ts";
import type { Measurement, TimeQuality } from "../../src/core/reading.ts";
import type { EntryContext } from "../../src/window/window-entry.ts";
import { Windows } from "../../src/window/windows.ts";
import { pipelineOf } from "../config/pipelines.ts";

export interface Body {
  readonly id: string;
  readonly revision: number;
  readonly window: string;
  readonly source: string;
  readonly device: string;
  readonly windowStart: string;
  readonly windowEnd: string;
  readonly timeQuality: string;
  readonly quality: string;
  readonly count: number;
  readonly expected?: number;
  readonly bad: number;
  readonly partial?: string;
  readonly channels: Record<string, Record<string, unknown>>;
  readonly configurations: string[];
}
export const bodyOf = (entry: Entry) => JSON.parse(entry.body) as Body;

export const baseContext: EntryContext = {
  storeId: "store",
  gateway: "box",
  unitOf: (_source, channel) => (channel === "t" ? "°C" : undefined),
  intervalMs: new Map([["s", 100]]),
};

/** A time whose windows of any size below a day begin at it. */
export const t0 = Date.UTC(2025, 0, 1);
export const second = { sizeMs: 1_000 };

/** Windows with the definitions in force since long ago, and shorthands for times relative to `t0`. */
export function running(definitions: JsonObject, sinceMs = t0 - 3_600_000) {
  const windows = new Windows();
  let generation = 0;
  const configure = (next: JsonObject, since: number, reason: "start" | "configuration") =>
    windows
      .configure(
        pipelineOf({ windows: next, sources: sourcesOf() }).windows,
        { generation: ++generation, sinceMs: since, reason, offsetMs: 0 },
        baseContext,
      )
      .map(bodyOf);
  configure(definitions, sinceMs, "start");
  return {
    windows,
    configure: (next: JsonObject, at: number) => configure(next, t0 + at, "configuration"),
    add: (at: number, values: Record<string, number> = { t: 1 }, options: AddOptions = {}) =>
      windows.add(options.source ?? "s", measured(at, values, options), origin(options.time, options.hash)),
    /** A tick at that time, as the pipeline has it: the watermark moves, then late readings are told. */
    advance: (at: number, source = "s") =>
      [
        ...windows.advance(source, t0 + at, t0 + at, baseContext),
        ...windows.revise(t0 + at, baseContext),
      ].map(bodyOf),
    entries: (at: number, source = "s") => windows.advance(source, t0 + at, t0 + at, baseContext),
  };
}
interface AddOptions {
  readonly source?: string;
  readonly device?: string;
  readonly bad?: readonly string[];
  readonly time?: TimeQuality;
  readonly hash?: string;
}
function sourcesOf(): JsonObject {
  return Object.fromEntries(
    ["s", "other"].map((name) => [
      name,
      { type: "serial", path: `/dev/${name}`, decode: { format: "json" }, device: "d" },
    ]),
  );
}
export function measured(
  at: number,
  values: Record<string, number>,
  { device = "d", bad = [] }: AddOptions,
): Measurement {
  return {
    device,
    timeMs: t0 + at,
    values: Object.entries(values).map(([channel, value]) => ({
      channel,
      value,
      quality: bad.includes(channel) ? ("bad" as const) : ("good" as const),
      reason: bad.includes(channel) ? ("aboveMax" as const) : undefined,
    })),
  };
}

export const origin = (timeQuality: TimeQuality = "synced", configuration = "h1") => ({
  timeQuality,
  configuration,
  ownTime: false,
  isPublished: false,
});
