import { expect, test } from "vitest";
import { KeyMemory } from "../../src/journal/key-memory.ts";

const entry = (key: string, source = "s") => ({ source, key, hash: `hash of ${key}`, readings: 1 });

test("the oldest goes when there are too many, and a key that comes again is new", () => {
  const memory = new KeyMemory([entry("a"), entry("b")], 3);
  memory.add(entry("c"));
  memory.add(entry("a"));
  memory.add(entry("d"));
  expect(memory.entries().map(({ key }) => key)).toEqual(["c", "a", "d"]);
  expect(memory.get("s", "b")).toBeUndefined();
  expect(memory.get("s", "a")).toEqual(entry("a"));
});

test("the same key of two sources is two", () => {
  const memory = new KeyMemory([entry("a"), { ...entry("a", "t"), hash: "other" }]);
  expect(memory.get("s", "a")?.hash).toBe("hash of a");
  expect(memory.get("t", "a")?.hash).toBe("other");
});

test("a memory made of another's entries is the same", () => {
  const memory = new KeyMemory(
    Array.from({ length: 20 }, (_, i) => entry(`${i}`)),
    15,
  );
  expect(new KeyMemory(memory.entries(), 15).entries()).toEqual(memory.entries());
});

test("ten thousand are remembered", () => {
  const memory = new KeyMemory(Array.from({ length: 10_001 }, (_, i) => entry(`${i}`)));
  expect(memory.entries()).toHaveLength(10_000);
  expect([memory.get("s", "0"), memory.get("s", "1")?.key]).toEqual([undefined, "1"]);
});
