import { describe, expect, test } from "vitest";
import { type BoxState, reportedProperties } from "../../src/twin/reported.ts";

const box: BoxState = {
  version: "1.2.3",
  configHash: "abc",
  lastDesiredVersion: 7,
  lastDesiredStatus: { code: 400, description: "no", path: "hub" },
  sources: {
    oven: { state: "failed", reason: "x".repeat(9_000) },
    room: { state: "open", reason: undefined },
  },
  clockQuality: "synced",
  store: { state: "ok", reason: undefined },
  freeRam: 5,
  load: { one: 1, five: 2, fifteen: 3 },
  freeDisk: 9,
  outbox: { entries: 1, messages: 2, bytes: 3, oldestAgeMs: 4 },
};

test("states and answers tell, numbers are figures", () => {
  const { telling, figures } = reportedProperties(box, { state: "on", freeRam: "on" });
  expect(telling).toMatchObject({
    version: "1.2.3",
    configuration: { hash: "abc" },
    lastDesiredVersion: 7,
    lastDesiredStatus: { code: 400, description: "no", path: "hub" },
    sources: { oven: { state: "failed" }, room: { state: "open" } },
    clock: { quality: "synced" },
    store: { state: "ok" },
  });
  expect(figures).toMatchObject({ freeRam: 5, load: box.load, outbox: box.outbox, disk: { freeBytes: 9 } });
});

test("what is unknown is left out, never null or undefined", () => {
  const unknown = {
    ...box,
    lastDesiredVersion: undefined,
    lastDesiredStatus: undefined,
    freeDisk: undefined,
  };
  const { telling, figures } = reportedProperties(unknown, { state: "on", freeRam: "on" });
  const text = JSON.stringify({ telling, figures });
  expect(JSON.parse(text)).toEqual({ telling, figures });
  expect(Object.keys({ ...telling, ...figures })).not.toContain("disk");
  expect(Object.keys(telling)).not.toContain("lastDesiredVersion");
});

test("free RAM that is off is not among them", () => {
  const { figures } = reportedProperties(box, { state: "on", freeRam: "off" });
  expect(figures).not.toHaveProperty("freeRam");
  expect(figures).toHaveProperty("load");
});

test("with reports off, answers to desired configurations are reported all the same", () => {
  const { telling, figures } = reportedProperties(box, { state: "off", freeRam: "on" });
  expect(Object.keys(telling).sort()).toEqual([
    "configuration",
    "lastDesiredStatus",
    "lastDesiredVersion",
    "version",
  ]);
  expect(figures).toEqual({});
});

test("a reason is cut to what a twin's string may hold", () => {
  const { telling } = reportedProperties(box, { state: "on", freeRam: "on" });
  expect(JSON.stringify(telling).length).toBeLessThan(4_096);
});

describe("with very many sources", () => {
  /** That many sources of each state, the troubled ones with reasons as long as a reason can be. */
  const told = (counts: Readonly<Record<string, number>>, reason = "x".repeat(9_000)) => {
    const sources = Object.entries(counts).flatMap(([state, count]) =>
      Array.from({ length: count }, (_, i) => [
        `${state}-${i}`,
        { state, reason: state === "open" ? undefined : reason },
      ]),
    );
    const { telling, figures } = reportedProperties(
      { ...box, sources: Object.fromEntries(sources) },
      { state: "on", freeRam: "on" },
    );
    // The limit of a twin half (https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-device-twins), in bytes.
    expect(Buffer.byteLength(JSON.stringify({ ...telling, ...figures }))).toBeLessThan(32_768);
    expect(telling).toMatchObject({
      lastDesiredVersion: 7,
      lastDesiredStatus: { code: 400, description: "no", path: "hub" },
      configuration: { hash: "abc" },
    });
    return telling;
  };

  test("all that fit are told, and nothing is said of others", () => {
    const telling = told({ open: 50, absent: 20 });
    expect(Object.keys(telling.sources as object)).toHaveLength(70);
    expect(telling).not.toHaveProperty("sourcesLeftOut");
  });

  test("the open ones are left out first, and their number is told", () => {
    const telling = told({ open: 150, absent: 50 });
    expect(telling.sourcesLeftOut).toBe(150);
    expect(Object.values(telling.sources as Record<string, object>)).toEqual(
      Array(50).fill({ state: "absent", reason: "x".repeat(300) }),
    );
  });

  test("then the reasons: two hundred absent ones are all told, without", () => {
    const telling = told({ absent: 200 });
    expect(Object.values(telling.sources as Record<string, object>)).toEqual(
      Array(200).fill({ state: "absent" }),
    );
    expect(telling).not.toHaveProperty("sourcesLeftOut");
    expect(told({ absent: 200, open: 30 }).sourcesLeftOut).toBe(30);
  });

  test("then all of them, and their number is told", () => {
    expect(told({ absent: 3_000, open: 10 })).toMatchObject({ sources: {}, sourcesLeftOut: 3_010 });
  });
});
