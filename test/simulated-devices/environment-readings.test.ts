import { isUtf8 } from "node:buffer";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type EnvironmentLine,
  EnvironmentReadings,
  type EnvironmentReadingsOptions,
  type EnvironmentValues,
  environmentRanges,
} from "../../src/simulated-devices/environment-readings.ts";

const calm: EnvironmentReadingsOptions = {
  device: "env-1",
  seed: 1,
  format: "json",
  numbered: true,
  timed: false,
  spikeEvery: 0,
  garbleEvery: 0,
  pauseEvery: 0,
  pauseMs: 0,
};

const take = (count: number, options: Partial<EnvironmentReadingsOptions> = {}): EnvironmentLine[] => {
  const readings = new EnvironmentReadings({ ...calm, ...options });
  return Array.from({ length: count }, () => readings.next());
};
const textOf = (line: EnvironmentLine): string => line.bytes.toString("latin1");
const inRange = (values: EnvironmentValues, channel: keyof EnvironmentValues): boolean =>
  values[channel] >= environmentRanges[channel].min && values[channel] <= environmentRanges[channel].max;
const channels = ["temperature", "pressure", "humidity"] as const;

describe("environment readings", () => {
  test("a JSON line is its values, numbered from 0", () => {
    for (const [index, line] of take(50).entries()) {
      expect(textOf(line).endsWith("\n")).toBe(true);
      expect(JSON.parse(textOf(line))).toEqual({ id: "env-1", seq: index, ...line.values });
    }
  });

  test("CSV has the columns id, seq, temperature, pressure, humidity", () => {
    for (const line of take(20, { format: "csv" })) {
      const [id, seq, ...values] = textOf(line).trimEnd().split(",");
      expect([id, Number(seq)]).toEqual(["env-1", line.seq]);
      expect(values.map(Number)).toEqual([
        line.values.temperature,
        line.values.pressure,
        line.values.humidity,
      ]);
    }
  });

  test("key=value pairs are separated by spaces, and have no seq when not numbered", () => {
    for (const line of take(20, { format: "keyValue", numbered: false })) {
      const pairs = textOf(line)
        .trimEnd()
        .split(" ")
        .map((pair) => pair.split("="));
      const { id, ...values } = Object.fromEntries(pairs);
      expect(id).toBe("env-1");
      expect(Object.fromEntries(Object.entries(values).map(([k, v]) => [k, Number(v)]))).toEqual(line.values);
    }
  });

  test("the same seed gives the same lines, another seed or device others", () => {
    const faults = { spikeEvery: 5, garbleEvery: 4, pauseEvery: 7, pauseMs: 100 };
    expect(take(500, faults)).toEqual(take(500, faults));
    const values = (options: Partial<EnvironmentReadingsOptions>) =>
      take(20, options).map((line) => line.values);
    expect(values({ seed: 2 })).not.toEqual(values({ seed: 1 }));
    expect(values({ device: "env-2" })).not.toEqual(values({ device: "env-1" }));
  });

  test("faults change nothing about the readings between them", () => {
    const plain = take(500);
    const faulty = take(500, { spikeEvery: 5, garbleEvery: 4, pauseEvery: 7, pauseMs: 100 });
    for (const [index, line] of faulty.entries()) {
      if (line.spike === undefined) expect(line.values).toEqual(plain[index]?.values);
      if (line.spike === undefined && line.garbling === undefined)
        expect(line.bytes).toEqual(plain[index]?.bytes);
    }
  });

  test("values stay in range and drift; a spike puts exactly one of them out of it", () => {
    const lines = take(3000, { spikeEvery: 10 });
    const spikes = lines.filter((line) => line.spike !== undefined);
    expect(spikes.length).toBeGreaterThan(200);
    expect(spikes.length).toBeLessThan(400);
    for (const line of lines) {
      expect(channels.filter((channel) => !inRange(line.values, channel))).toEqual(
        line.spike === undefined ? [] : [line.spike],
      );
    }
    const temperatures = lines.filter((line) => !line.spike).map((line) => line.values.temperature);
    expect(Math.max(...temperatures) - Math.min(...temperatures)).toBeGreaterThan(4);
  });

  test("a pause comes as often as asked, and never for 0", () => {
    const pauses = take(3000, { pauseEvery: 10, pauseMs: 70 }).filter((line) => line.pauseMs === 70);
    expect(pauses.length).toBeGreaterThan(200);
    expect(pauses.length).toBeLessThan(400);
    expect(take(3000, { pauseMs: 70 }).every((line) => line.pauseMs === 0)).toBe(true);
  });

  test("whatever garbles a JSON line, it is one line and no JSON, alone or with the next line behind it", () => {
    const kinds = new Set<string>();
    fc.assert(
      fc.property(fc.integer(), fc.boolean(), (seed, numbered) => {
        const lines = take(200, { seed, numbered, garbleEvery: 3 });
        for (const [index, line] of lines.entries()) {
          if (line.garbling === undefined) continue;
          kinds.add(line.garbling);
          const next = lines[index + 1];
          if (line.garbling === "newlineLost" && next === undefined) continue;
          const wire = line.garbling === "newlineLost" && next ? textOf(line) + textOf(next) : textOf(line);
          const from = line.garbling === "newlineLost" ? line.bytes.length : 0;
          // The next line may itself have lost its newline; then the wire's line goes on.
          const end = wire.indexOf("\n", from);
          expect(end === -1 || end === wire.length - 1).toBe(true);
          expect(wire.slice(0, from)).not.toContain("\n");
          expect(() => JSON.parse(wire)).toThrow();
          expect(() => JSON.parse(Buffer.from(wire, "latin1").toString("utf8"))).toThrow();
        }
      }),
      { numRuns: 60 },
    );
    expect([...kinds].sort()).toEqual(["flipped", "newlineLost", "noise", "truncated"]);
  });

  test.each(["json", "csv", "keyValue"] as const)(
    "a damaged %s line is no text, or has no value",
    (format) => {
      for (const line of take(3000, { format, garbleEvery: 3 })) {
        if (line.garbling === "flipped" || line.garbling === "noise") expect(isUtf8(line.bytes)).toBe(false);
        if (line.garbling === "truncated" && format !== "json") expect(textOf(line)).toMatch(/^[^ ,]+\n$/);
      }
    },
  );
});

test("lines carry the time they are given, in every format, and nothing else changes", () => {
  for (const format of ["json", "csv", "keyValue"] as const) {
    const plain = new EnvironmentReadings({ ...calm, format }).next(1_700_000_000_123.4);
    const timed = new EnvironmentReadings({ ...calm, format, timed: true }).next(1_700_000_000_123.4);
    expect(timed.bytes.toString()).toContain("1700000000123");
    expect(plain.bytes.toString()).not.toContain("1700000000123");
    expect(timed.values).toEqual(plain.values);
  }
});
