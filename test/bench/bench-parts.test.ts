import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { type Cell, summaryOf, whyUnknown } from "../../bench/cell.ts";
import { noisyDigits, readingText } from "../../bench/reading.ts";
import { keyOf, Results } from "../../bench/results.ts";
import { medianOf, medianRatio } from "../../bench/statistics.ts";

describe("medians over rounds", () => {
  const rounds = [
    { a: 10, b: 5 },
    { a: 90, b: 30 },
    { a: 20, b: 5 },
  ];

  test("the ratio is the median of the rounds' ratios, not that of the medians", () => {
    expect(
      medianRatio(
        rounds,
        ({ a }) => a,
        ({ b }) => b,
      ),
    ).toBe(3);
    const ofMedians = (medianOf(rounds, ({ a }) => a) ?? 0) / (medianOf(rounds, ({ b }) => b) ?? 1);
    expect(ofMedians).toBe(4);
  });

  test("a round in which one of the two does not count has no ratio", () => {
    expect(
      medianRatio(
        rounds,
        ({ a }) => (a === 90 ? undefined : a),
        ({ b }) => b,
      ),
    ).toBe(3);
    expect(
      medianRatio(
        rounds,
        () => undefined,
        ({ b }) => b,
      ),
    ).toBeUndefined();
  });
});

describe("the summary of a cell", () => {
  const member = (name: string) => ({ name, run: async () => ({ problems: [] }) });
  const cell: Cell = {
    name: "c",
    title: "",
    members: [member("x"), member("y")],
    ratios: [{ name: "ratio", figure: "cpu", of: "x", to: "y", atMost: 1.3 }],
    bounds: [{ figure: "cpu", of: "y", atMost: 10 }],
  };
  const round = (x: number, y: number, problems: string[] = []) => ({
    cell: "c",
    key: "k",
    at: "",
    runs: { x: { cpu: x, problems }, y: { cpu: y, limitedBy: "text", problems: [] } },
  });

  test("tells ratios and targets, met and missed", () => {
    const { ratios, verdicts } = summaryOf(cell, [round(2, 1), round(14, 10), round(15, 11)]);
    expect(ratios.ratio).toBe(1.4);
    expect(verdicts.map(({ isMet }) => isMet)).toEqual([false, true]);
  });

  test("a run that lost or delayed something counts for nothing, and is told", () => {
    const summary = summaryOf(cell, [round(99, 1, ["readings were lost"]), round(12, 10)]);
    expect(summary.ratios.ratio).toBe(1.2);
    expect(summary.figures.x?.cpu).toBe(12);
    expect(summary.problems).toEqual({ x: ["readings were lost"] });
    expect(summary.verdicts[0]?.rounds).toBe(1);
  });

  test("a target that no round says anything of is told as unknown", () => {
    const { verdicts } = summaryOf(cell, [round(1, 1, ["late", "and lost"])]);
    expect(verdicts[0]).toMatchObject({
      name: "ratio",
      rounds: 0,
      value: undefined,
      isMet: undefined,
      missing: ["x"],
    });
  });

  test("an unknown target tells whose rounds do not count, or that none has both", () => {
    const late = round(1, 1, ["late"]);
    const { x, y } = late.runs;
    const other = { ...late, runs: { x: { ...x, problems: [] }, y: { ...y, problems: ["late"] } } };
    const why = (...rounds: Parameters<typeof summaryOf>[1]) =>
      summaryOf(cell, rounds).verdicts.slice(0, 1).map(whyUnknown);
    expect(why(late)).toEqual(["no round of x counts"]);
    expect(why(late, other)).toEqual(["no round counts"]);
  });
});

describe("rounds on the disk", () => {
  const folder = mkdtempSync(join(tmpdir(), "headgate-bench-test-"));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("a later call finds the finished rounds of its key; a line that a kill cut off is none", () => {
    const round = { cell: "cost", at: "", runs: { x: { cpu: 1 } } };
    new Results(folder).add({ ...round, key: "old" });
    new Results(folder).add({ ...round, key: "new" });
    appendFileSync(join(folder, "cost.jsonl"), '{"cell":"cost","key":"new","ru');
    const results = new Results(folder);
    expect(results.rounds("cost", "new")).toHaveLength(1);
    expect(results.latest("cost").map(({ key }) => key)).toEqual(["new"]);
    expect(results.rounds("other", "new")).toEqual([]);
    results.add({ ...round, key: "new" });
    expect(results.rounds("cost", "new")).toHaveLength(2);
  });

  test("the key changes with the program and with how it is measured", () => {
    const code = join(import.meta.dirname, "../../bin");
    expect(keyOf(code, { quick: true })).toBe(keyOf(code, { quick: true }));
    expect(keyOf(code, { quick: true })).not.toBe(keyOf(code, { quick: false }));
    expect(keyOf(code, {})).not.toBe(keyOf(join(import.meta.dirname, "../../nothing"), {}));
  });
});

test("noise is put into the last digits of values alone, and never makes a number invalid", () => {
  const text = readingText(7, 3, 100_000_001);
  const digits = [...text];
  for (const at of noisyDigits(text)) digits[at] = "0";
  const before = JSON.parse(text) as Record<string, unknown>;
  const after = JSON.parse(digits.join("")) as Record<string, unknown>;
  expect(after).toMatchObject({ seq: before.seq, device: before.device, sentAt: before.sentAt });
  for (const name of ["temperature", "co2", "vibration"]) expect(after[name]).not.toBe(before[name]);
  expect(text.length).toBeGreaterThan(180);
});
