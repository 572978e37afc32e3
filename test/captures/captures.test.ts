/** What boxes recorded, a folder each: the capture, the source's section of the configuration, and what must come of it. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkConfig } from "../../src/config/check.ts";
import type { ReplaySourceConfig } from "../../src/config/schema.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { ChannelNames } from "../../src/decode/channel-names.ts";
import { compileDecoder } from "../../src/decode/decoder.ts";
import { parseLine } from "../../src/sources/capture.ts";
import { ReplaySource } from "../../src/sources/replay-source.ts";
import type { SourceStatus } from "../../src/sources/source.ts";
import { pipelineOf } from "../config/pipelines.ts";
import { until } from "../support/until.ts";

const cases = readdirSync(import.meta.dirname, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

interface Outcome {
  readonly readings: readonly JsonObject[];
  readonly discards: Readonly<Record<string, number>>;
}

/** Reads a capture as a gateway does that replays it, and decodes what its source would have decoded. */
async function played(path: string, section: JsonObject): Promise<Outcome> {
  const { sources, channels } = pipelineOf({ sources: { source: section } });
  if (!sources.source) throw new Error("the configuration lost its source");
  const decode = compileDecoder(sources.source, new ChannelNames(channels));
  const receivedMs = endOf(path);
  const readings: JsonObject[] = [];
  const discards: Record<string, number> = {};
  const discard = (reason: string) => {
    discards[reason] = (discards[reason] ?? 0) + 1;
  };
  let status: SourceStatus | undefined;
  const sink = {
    hasRoom: () => true,
    frame: (bytes: Uint8Array, origin?: string) => {
      const decoded = decode(bytes, receivedMs, origin);
      if ("discard" in decoded) discard(decoded.discard);
      else
        for (const { device, timeMs, values } of decoded.readings)
          readings.push({
            device,
            ...(timeMs === receivedMs ? {} : { time: new Date(timeMs).toISOString() }),
            values: Object.fromEntries(values.map(({ channel, value }) => [channel, value])),
          });
      return true;
    },
    discard,
    committed: () => Promise.resolve(),
    status: (now: SourceStatus) => {
      status = now;
    },
  };
  const source = new ReplaySource(replayOf(path), sink, systemClock);
  source.start();
  await until("the capture is at its end", () => status?.state === "stopped" || status?.state === "failed");
  await source.stop();
  expect(status?.state, status?.reason).toBe("stopped");
  return { readings, discards };
}

function replayOf(path: string): ReplaySourceConfig {
  const section = { type: "replay", path, speed: 0, decode: { format: "json" }, device: "any" };
  const checked = checkConfig({
    gateway: { name: "box" },
    hub: { type: "edge" },
    sources: { replay: section },
  });
  return checked.config.sources.replay as ReplaySourceConfig;
}

/** When the last of it came: the time of readings that have none of their own, which are told without one. */
function endOf(path: string): number {
  const [header = "", ...lines] = readFileSync(path, "utf8").trimEnd().split("\n");
  const { startedAt } = JSON.parse(header) as { startedAt: string };
  return Math.ceil(Date.parse(startedAt) + Math.max(...lines.map((line) => parseLine(line)?.t ?? 0)));
}

test.each(cases)(
  "%s: the capture gives the readings and discards that are written beside it",
  async (name) => {
    const folder = join(import.meta.dirname, name);
    const section = JSON.parse(readFileSync(join(folder, "source.json"), "utf8")) as JsonObject;
    const outcome = await played(join(folder, "capture.jsonl"), section);
    expect(outcome.readings.length).toBeGreaterThan(0);
    await expect(`${JSON.stringify(outcome, null, 2)}\n`).toMatchFileSnapshot(join(folder, "readings.json"));
  },
);

test("there are cases", () => {
  expect(cases.length).toBeGreaterThan(0);
});
