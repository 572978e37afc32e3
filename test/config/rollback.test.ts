import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ConfigError } from "../../src/core/errors.ts";
import { adopt, box, minute, twin, windowOf } from "./box.ts";

const hour = 60 * minute;

describe("a crash loop", () => {
  /** A box that proved one configuration and then got another at `t`. */
  const changed = (t = 10 * minute) => {
    const b = box();
    const proven = b.run(0);
    adopt(proven, twin(1_000), 1, 0);
    proven.prove();
    adopt(proven, twin(2_000), 2, t);
    return { ...b, proven };
  };

  test("of three within five minutes rolls back, once, and says so", () => {
    const b = changed();
    const t = 10 * minute;
    // The first crash was of the process that adopted it; these are the starts after the first and the second.
    expect(windowOf(b.run(t + 10_000))).toBe(2_000);
    expect(windowOf(b.run(t + 20_000))).toBe(2_000);
    const back = b.run(t + 30_000);
    expect([windowOf(back), back.twinVersion]).toEqual([1_000, 1]);
    expect(back.startProblems.length).toBeGreaterThan(0);
    const next = b.run(t + 40_000);
    expect([windowOf(next), next.startProblems]).toEqual([1_000, []]);
  });

  test("the rolled-back configuration is refused from then on, also after restarts; another one is not", () => {
    const b = changed();
    for (const at of [10_000, 20_000, 30_000]) b.run(10 * minute + at);
    const later = b.run(30 * minute);
    expect(() => later.candidate(twin(2_000))).toThrow(ConfigError);
    adopt(later, twin(3_000), 3, 30 * minute);
    expect(windowOf(later)).toBe(3_000);
    expect(() => later.candidate(twin(2_000))).toThrow(ConfigError);
  });

  test("a file that was rolled back is not taken at the next start; a changed one is", () => {
    const b = box({ windows: { w: { sizeMs: 1_000 } } });
    b.run(0).ended();
    b.write({ windows: { w: { sizeMs: 2_000 } } });
    for (const at of [10_000, 20_000, 30_000]) expect(windowOf(b.run(at))).toBe(2_000);
    const back = b.run(40_000);
    expect(windowOf(back)).toBe(1_000);
    expect(back.startProblems.length).toBeGreaterThan(0);
    back.ended();
    expect(windowOf(b.run(50_000))).toBe(1_000);
    b.write({ windows: { w: { sizeMs: 3_000 } } });
    expect(windowOf(b.run(60_000))).toBe(3_000);
  });

  test("orderly stops are no crashes", () => {
    const b = changed();
    b.proven.ended();
    for (let i = 1; i < 10; i++) {
      const configuration = b.run(10 * minute + i * 1_000);
      expect(windowOf(configuration)).toBe(2_000);
      configuration.ended();
    }
  });

  test("crashes further apart than five minutes roll nothing back", () => {
    const b = changed();
    for (let i = 1; i < 8; i++) expect(windowOf(b.run(10 * minute + i * 3 * minute))).toBe(2_000);
  });

  test("a configuration that proved itself is never rolled back", () => {
    const b = changed();
    b.proven.prove();
    for (let i = 1; i < 8; i++) expect(windowOf(b.run(20 * minute + i * 1_000))).toBe(2_000);
  });

  test("crashes before the change are not the new configuration's", () => {
    const b = box();
    for (const at of [0, 1_000, 2_000]) b.run(at);
    const running = b.run(3_000);
    adopt(running, twin(2_000), 1, 4_000);
    expect(windowOf(b.run(5_000))).toBe(2_000);
    expect(windowOf(b.run(6_000))).toBe(2_000);
    expect(windowOf(b.run(7_000))).toBeUndefined();
  });

  test("a patch that changes nothing but the twin's version does not forget the one before", () => {
    const b = changed();
    adopt(b.proven, twin(2_000), 3, 10 * minute + 1_000);
    b.run(10 * minute + 10_000);
    b.run(10 * minute + 20_000);
    expect(windowOf(b.run(10 * minute + 30_000))).toBe(1_000);
  });

  test("two changes within five minutes still lead back to the one that had proved itself", () => {
    const b = changed();
    adopt(b.proven, twin(3_000), 3, 10 * minute + 1_000);
    let at = 10 * minute + 1_000;
    let configuration = b.proven;
    for (let crashes = 0; crashes < 12; crashes++) {
      at += 10_000;
      configuration = b.run(at);
    }
    expect(windowOf(configuration)).toBe(1_000);
  });
});

describe("a changed file whose process crashes before it confirms", () => {
  const windows = (sizeMs: number) => ({ windows: { w: { sizeMs } } });
  /** A box that ran well with windows of a second and got a file with windows of two. */
  const changed = () => {
    const b = box(windows(1_000));
    b.run(0).ended();
    b.write(windows(2_000));
    return b;
  };

  test("is rolled back after three starts, and not taken again", () => {
    const b = changed();
    for (const at of [10_000, 20_000, 30_000]) expect(windowOf(b.crash(at))).toBe(2_000);
    const back = b.run(40_000);
    expect(windowOf(back)).toBe(1_000);
    expect(back.startProblems.length).toBeGreaterThan(0);
    expect(windowOf(b.run(50_000))).toBe(1_000);
  });

  test("is judged by its own starts, not by those of another file", () => {
    const b = changed();
    for (const at of [10_000, 20_000]) expect(windowOf(b.crash(at))).toBe(2_000);
    b.write(windows(3_000));
    for (const at of [30_000, 40_000, 50_000]) expect(windowOf(b.crash(at))).toBe(3_000);
    b.write(windows(2_000));
    expect(windowOf(b.crash(60_000))).toBe(2_000);
    expect(windowOf(b.crash(70_000))).toBe(1_000);
  });

  test("is not rolled back by starts more than five minutes ago", () => {
    const b = changed();
    for (let i = 1; i < 8; i++) expect(windowOf(b.crash(i * 3 * minute))).toBe(2_000);
  });

  test("stays when there is nothing to go back to", () => {
    const b = box(windows(1_000));
    for (let i = 1; i < 8; i++) expect(windowOf(b.crash(i * 1_000))).toBe(1_000);
  });
});

test("a start on the last good configuration leaves it as it was saved, also after it is confirmed", () => {
  const b = box({ gateway: { name: "oven" }, windows: { v: { sizeMs: 5_000 } } });
  const first = b.run(0);
  adopt(first, twin(1_000), 7, 0);
  first.ended();
  const before = JSON.parse(readFileSync(b.saved, "utf8")).current;
  b.write('{"gateway": ');
  for (let i = 1; i < 4; i++) {
    const configuration = b.run(i * minute);
    expect(configuration.current.config).toMatchObject({
      gateway: { name: "oven" },
      windows: { v: { sizeMs: 5_000 }, w: { sizeMs: 1_000 } },
    });
    expect(configuration.twinVersion).toBe(7);
    configuration.ended();
    expect(JSON.parse(readFileSync(b.saved, "utf8")).current).toEqual(before);
  }
});

test("a last good configuration of a version that made other hashes stays whole when it is needed again and again", () => {
  const b = box({ gateway: { name: "oven" }, windows: { w: { sizeMs: 1_000 } } });
  b.run(0).ended();
  const file = JSON.parse(readFileSync(b.saved, "utf8"));
  writeFileSync(b.saved, JSON.stringify({ ...file, current: { ...file.current, hash: "0".repeat(16) } }));
  b.write('{"gateway": ');
  for (let i = 1; i < 4; i++) {
    const configuration = b.run(i * minute);
    expect(configuration.current.config.gateway.name).toBe("oven");
    expect(windowOf(configuration)).toBe(1_000);
    configuration.ended();
  }
});

test("another version of the program tries a rolled-back configuration again", () => {
  const b = box({ windows: { w: { sizeMs: 1_000 } } });
  b.run(0).ended();
  b.write({ windows: { w: { sizeMs: 2_000 } } });
  for (const at of [10_000, 20_000, 30_000]) b.crash(at);
  b.run(40_000).ended();
  expect(windowOf(b.start())).toBe(1_000);
  const file = JSON.parse(readFileSync(b.saved, "utf8"));
  writeFileSync(
    b.saved,
    JSON.stringify({ ...file, rolledBack: [{ ...file.rolledBack[0], version: "0.0.0" }] }),
  );
  const configuration = b.run(50_000);
  expect([windowOf(configuration), configuration.startProblems]).toEqual([2_000, []]);
});

test("an earlier configuration that an upgrade no longer accepts is not gone back to", () => {
  const b = box({ windows: { w: { sizeMs: 1_000 } } });
  b.run(0).ended();
  const file = JSON.parse(readFileSync(b.saved, "utf8"));
  file.current.merged.windows.w.oldKey = 1;
  writeFileSync(b.saved, JSON.stringify(file));
  b.write({ windows: { w: { sizeMs: 2_000 } } });
  for (let at = 10_000; at < 120_000; at += 10_000) expect(windowOf(b.crash(at))).toBe(2_000);
});

test("a configuration whose hash alone an upgrade changed is not rolled back to itself", () => {
  const b = box({ windows: { w: { sizeMs: 1_000 } } });
  b.run(0).ended();
  const file = JSON.parse(readFileSync(b.saved, "utf8"));
  file.current.hash = "0123456789abcdef";
  writeFileSync(b.saved, JSON.stringify(file));
  for (let at = 10_000; at < 120_000; at += 10_000) {
    expect([windowOf(b.run(at)), b.start().startProblems]).toEqual([1_000, []]);
  }
});

test("a saved twin layer that an upgrade no longer accepts does not keep a good file from running", () => {
  const b = box({ windows: { w: { sizeMs: 1_000 } } });
  const first = b.run(0);
  adopt(first, { windows: { w: { allowedLatenessMs: 100 } } }, 7, 0);
  first.ended();
  const file = JSON.parse(readFileSync(b.saved, "utf8"));
  for (const layer of [file.current.twin, file.current.merged]) layer.windows.w.oldKey = 1;
  writeFileSync(b.saved, JSON.stringify(file));
  const configuration = b.run(10_000);
  expect([windowOf(configuration), configuration.twinVersion]).toEqual([1_000, undefined]);
  expect(configuration.startProblems.map((problem) => problem.path)).toContain("windows.w.oldKey");
  // What was saved stays, for the version that can read it.
  expect(JSON.parse(readFileSync(b.saved, "utf8")).current).toEqual(file.current);
});

test("two configurations that were rolled back one after the other are both remembered", () => {
  const b = box({ windows: { w: { sizeMs: 1_000 } } });
  b.run(0).ended();
  b.write({ windows: { w: { sizeMs: 2_000 } } });
  for (const at of [10_000, 20_000, 30_000, 40_000]) b.crash(at);
  const stable = b.run(hour);
  adopt(stable, { report: { intervalMs: 5_000 } }, 2, hour);
  for (const at of [10_000, 20_000, 30_000]) b.crash(hour + at);
  for (let at = 2 * hour; at < 3 * hour; at += 10 * minute) expect(windowOf(b.run(at))).toBe(1_000);
});

test.each(['{"starts":[1,null]}', '{"starts":[],"rolledBack":{"hash":"x"}}', '{"starts":[{"at":1}]}'])(
  "a saved file of another shape is ignored: %s",
  (text) => {
    const b = box({ windows: { w: { sizeMs: 1_000 } } });
    b.run(0).ended();
    writeFileSync(b.saved, text);
    const configuration = b.run(10_000);
    expect(windowOf(configuration)).toBe(1_000);
    expect(configuration.startProblems).toHaveLength(1);
  },
);
