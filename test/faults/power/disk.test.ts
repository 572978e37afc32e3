import { describe, expect, test } from "vitest";
import { randomFrom } from "../../support/random.ts";
import { Disk } from "./disk.ts";
import type { DiskOperation } from "./op-log.ts";

type Step = DiskOperation extends infer O
  ? O extends DiskOperation
    ? Omit<O, "sequence" | "monotonicMs">
    : never
  : never;

const open = (file: number, path: string, folder = false): Step => ({
  kind: "open",
  file,
  path,
  created: !folder,
  truncated: false,
  folder,
});
const write = (file: number, offset: number, text: string): Step => ({
  kind: "write",
  file,
  offset,
  data: Buffer.from(text),
});

/** Every different content of one file that many cuts leave; `-` where it is not there. */
function outcomes(steps: readonly Step[], path: string, base = new Map<string, Buffer>()): string[] {
  const disk = new Disk(base);
  steps.forEach((step, index) => {
    disk.apply({ ...step, sequence: index + 1, monotonicMs: index } as DiskOperation);
  });
  const random = randomFrom(1);
  const seen = new Set<string>();
  for (let cut = 0; cut < 300; cut++) seen.add(disk.cut(random).get(path)?.toString() ?? "-");
  return [...seen].sort();
}

describe("a power cut", () => {
  const made = [open(1, "/d", true), open(2, "/d/f")];
  const named: Step[] = [...made, { kind: "syncEnd", file: 1, begun: 3 }];
  const a = "a".repeat(512);
  const b = "b".repeat(512);

  test("takes a file whose folder was not synced, even when the file was", () => {
    const steps: Step[] = [...made, write(2, 0, "x"), { kind: "syncEnd", file: 2, begun: 4 }];
    expect(outcomes(steps, "/d/f")).toEqual(["-", "x"]);
  });

  test("takes nothing that was synced", () => {
    const steps: Step[] = [...named, write(2, 0, a), { kind: "syncEnd", file: 2, begun: 5 }];
    expect(outcomes(steps, "/d/f")).toEqual([a]);
  });

  test("leaves any sectors of what was not, and the length perhaps before the bytes", () => {
    const zeros = "\0".repeat(512);
    const steps = [...named, write(2, 0, a + b)];
    expect(outcomes(steps, "/d/f")).toEqual(["", zeros + zeros, zeros + b, a, a + zeros, a + b].sort());
  });

  test("may come between what was written before a sync began and what while it ran", () => {
    const steps: Step[] = [
      ...named,
      write(2, 0, "old"),
      write(2, 0, "new"),
      { kind: "syncEnd", file: 2, begun: 5 },
    ];
    expect(outcomes(steps, "/d/f")).toEqual(["new", "old"]);
  });

  test("keeps names in their order: never the second without the first", () => {
    const base = new Map([["/d/f", Buffer.from("old")]]);
    const steps: Step[] = [
      open(1, "/d", true),
      open(2, "/d/f.new"),
      write(2, 0, "new"),
      { kind: "syncEnd", file: 2, begun: 4 },
      { kind: "rename", from: "/d/f.new", to: "/d/f" },
      { kind: "unlink", path: "/d/f" },
    ];
    expect(outcomes(steps, "/d/f", base)).toEqual(["-", "new", "old"]);
  });

  test("takes a truncation that was not synced, or not", () => {
    const base = new Map([["/d/f", Buffer.from("long")]]);
    const steps: Step[] = [
      { kind: "open", file: 2, path: "/d/f", created: false, truncated: false, folder: false },
      { kind: "truncate", file: 2, length: 2 },
    ];
    expect(outcomes(steps, "/d/f", base)).toEqual(["lo", "long"]);
  });

  test("changes nothing of what the process would see later", () => {
    const disk = new Disk(new Map([["/d/f", Buffer.from("old")]]));
    const steps: Step[] = [
      { kind: "open", file: 2, path: "/d/f", created: false, truncated: false, folder: false },
      write(2, 0, "new"),
      write(2, 3, "er"),
    ];
    const operations = steps.map((step, index) => ({ ...step, sequence: index + 1, monotonicMs: index }));
    for (const operation of operations.slice(0, 2)) disk.apply(operation as DiskOperation);
    const later = disk.seenAfter(operations.slice(2) as DiskOperation[]);
    expect([later.get("/d/f"), disk.seen().get("/d/f")].map(String)).toEqual(["newer", "new"]);
  });
});
