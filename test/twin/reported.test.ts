import { describe, expect, test } from "vitest";
import { type BoxState, reportedProperties } from "../../src/twin/reported.ts";
import { box, totals } from "./box.ts";

/** What of the books is told. */
const told = { ingested: 7, published: 3, held: 2, discarded: 2, gaps: { counted: 5, unknown: 1 } };

test("states and answers tell, numbers are figures", () => {
  const { telling, figures } = reportedProperties(box, { state: "on", freeRam: "on" });
  expect(telling).toMatchObject({
    version: "1.2.3",
    configuration: { hash: "abc" },
    lastDesiredVersion: 7,
    lastDesiredStatus: { code: 400, description: "no", path: "hub" },
    sources: { oven: { state: "failed" }, room: { state: "open" } },
    clock: { quality: "synced" },
    upstream: "offline",
    store: { state: "ok" },
  });
  expect(figures).toMatchObject({ freeRam: 5, load: box.load, outbox: box.outbox, disk: { freeBytes: 9 } });
});

test("the books are figures: in total and per source", () => {
  const { telling, figures } = reportedProperties(box, { state: "on", freeRam: "on" });
  expect(figures.ledger).toEqual({ ...told, sources: { oven: told } });
  expect(telling).not.toHaveProperty("ledger");
});

test("what is unknown is left out, never null or undefined", () => {
  const unknown = {
    ...box,
    lastDesiredVersion: undefined,
    lastDesiredStatus: undefined,
    upstream: undefined,
    freeDisk: undefined,
  };
  const { telling, figures } = reportedProperties(unknown, { state: "on", freeRam: "on" });
  const text = JSON.stringify({ telling, figures });
  expect(JSON.parse(text)).toEqual({ telling, figures });
  expect(Object.keys({ ...telling, ...figures })).not.toContain("disk");
  expect(Object.keys(telling)).not.toContain("lastDesiredVersion");
  expect(Object.keys(telling)).not.toContain("upstream");
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
  const tell = (counts: Readonly<Record<string, number>>, reason = "x".repeat(9_000)) => {
    const sources = Object.entries(counts).flatMap(([state, count]) =>
      Array.from({ length: count }, (_, i) => [
        `${state}-${i}`,
        { state, reason: state === "open" ? undefined : reason },
      ]),
    );
    const books = Object.fromEntries(sources.map(([name]) => [name, totals]));
    const { telling, figures } = reportedProperties(
      { ...box, sources: Object.fromEntries(sources), ledger: { totals, sources: books } },
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

  test("of the books, each source's are told while all fit, then the totals and how many there are", () => {
    const books = (count: number) => {
      const sources = Object.fromEntries(Array.from({ length: count }, (_, i) => [`source-${i}`, totals]));
      const ledger = { totals, sources };
      return reportedProperties({ ...box, ledger }, { state: "on", freeRam: "on" }).figures.ledger;
    };
    expect(Object.keys((books(60) as { sources: object }).sources)).toHaveLength(60);
    expect(books(500)).toEqual({ ...told, sourcesLeftOut: 500 });
  });

  test("all that fit are told, and nothing is said of others", () => {
    const telling = tell({ open: 50, absent: 20 });
    expect(Object.keys(telling.sources as object)).toHaveLength(70);
    expect(telling).not.toHaveProperty("sourcesLeftOut");
  });

  test("the open ones are left out first, and their number is told", () => {
    const telling = tell({ open: 150, absent: 50 });
    expect(telling.sourcesLeftOut).toBe(150);
    expect(Object.values(telling.sources as Record<string, object>)).toEqual(
      Array(50).fill({ state: "absent", reason: "x".repeat(300) }),
    );
  });

  test("then the reasons: two hundred absent ones are all told, without", () => {
    const telling = tell({ absent: 200 });
    expect(Object.values(telling.sources as Record<string, object>)).toEqual(
      Array(200).fill({ state: "absent" }),
    );
    expect(telling).not.toHaveProperty("sourcesLeftOut");
    expect(tell({ absent: 200, open: 30 }).sourcesLeftOut).toBe(30);
  });

  test("then all of them, and their number is told", () => {
    expect(tell({ absent: 3_000, open: 10 })).toMatchObject({ sources: {}, sourcesLeftOut: 3_010 });
  });
});

describe("models", () => {
  const model = {
    state: "ready",
    reason: undefined,
    sha256: "0".repeat(64),
    bytes: 9,
    engine: "native",
    threads: 1,
    inputs: [{ name: "data", type: "float32", shape: ["N", 3, 224, 224] }],
    outputs: [{ name: "scores", type: "float32", shape: ["N", 1000] }],
    inside: 0,
    counts: { scored: 1, refused: 0, busy: 0, failed: 0, cancelled: 0 },
  } as const;
  const tellingOf = (models: BoxState["models"]) =>
    reportedProperties({ ...box, models }, { state: "on", freeRam: "on" }).telling;

  test("are told with state, hash and shapes, and not at all where there are none", () => {
    expect(tellingOf({})).not.toHaveProperty("models");
    const failed = {
      ...model,
      state: "failed",
      reason: "absent",
      sha256: undefined,
      inputs: [],
      outputs: [],
    } as const;
    expect(tellingOf({ zoo: model, other: failed }).models).toEqual({
      zoo: {
        state: "ready",
        sha256: model.sha256,
        inputs: "data: float32 [N,3,224,224]",
        outputs: "scores: float32 [N,1000]",
      },
      other: { state: "failed", reason: "absent", inputs: "", outputs: "" },
    });
  });

  test("that are very many are told without shapes, and then by their number", () => {
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`model-${i}`, model]));
    expect(tellingOf(many(20)).models).toMatchObject({ "model-7": { state: "ready" } });
    expect(JSON.stringify(tellingOf(many(20)).models)).not.toContain("float32");
    expect(tellingOf(many(200))).toMatchObject({ modelsLeftOut: 200 });
  });
});
