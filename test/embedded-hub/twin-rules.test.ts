import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  diff,
  type JsonObject,
  mergePatch,
  patchProblem,
  twinSize,
} from "../../src/embedded-hub/twin-rules.ts";

function nested(levels: number): JsonObject {
  let value: JsonObject = { leaf: 1 };
  for (let level = 0; level < levels; level++) value = { n: value };
  return value;
}

describe("a patch", () => {
  test("merges objects, removes with null, replaces arrays", () => {
    const before = { a: { b: 1, c: 2 }, list: [1, 2, 3], gone: true };
    const patch = { a: { b: null, d: 4 }, list: [9], gone: null, never: null };
    expect(mergePatch(before, patch)).toEqual({ a: { c: 2, d: 4 }, list: [9] });
    expect(before.list).toEqual([1, 2, 3]);
  });

  test("an object over a scalar starts from nothing, and its nulls leave nothing", () => {
    expect(mergePatch({ a: 5 }, { a: { b: null, c: 1 } })).toEqual({ a: { c: 1 } });
  });

  test("the difference of two documents makes the second of the first", () => {
    const key = fc.constantFrom("a", "b", "c", "__proto__");
    const leaf = fc.oneof(fc.integer(), fc.boolean(), fc.string(), fc.array(fc.integer(), { maxLength: 3 }));
    const { tree } = fc.letrec<{ tree: JsonObject }>((tie) => ({
      tree: fc
        .array(fc.tuple(key, fc.oneof({ depthSize: "small" }, leaf, tie("tree"))), { maxLength: 3 })
        .map((entries) => Object.fromEntries(entries) as JsonObject),
    }));
    fc.assert(
      fc.property(tree, tree, (before, after) => {
        expect(mergePatch(before, diff(before, after))).toEqual(after);
      }),
    );
  });
});

describe("validation", () => {
  const valid: readonly (readonly [string, unknown])[] = [
    ["nothing", {}],
    ["all types", { s: "x", n: 1.5, b: false, z: null, o: {}, l: [1, "a", { b: 1 }, [2]] }],
    ["ten nested objects", nested(10)],
    ["the largest and smallest integer", { a: 4503599627370495, b: -4503599627370496 }],
    ["a value of 4 KB", { a: "x".repeat(4096) }],
    ["a name of 1 KB", { ["n".repeat(1024)]: 1 }],
    ["a name with non-ASCII letters", { größe: 1 }],
  ];
  test.each(valid)("%s is accepted by both", (_name, patch) => {
    expect(patchProblem(patch, "edgeHub")).toBeUndefined();
    expect(patchProblem(patch, "hub")).toBeUndefined();
  });

  const invalid: readonly (readonly [string, unknown])[] = [
    ["an array", [1]],
    ["text", "x"],
    ["null", null],
    ["eleven nested objects", nested(11)],
    ["an integer too large", { a: 4503599627370496 }],
    ["an integer too small", { a: { b: -4503599627370497 } }],
    ["a value above 4 KB", { a: "x".repeat(4097) }],
    ["a value above 4 KB in UTF-8", { a: "é".repeat(2049) }],
    ["a name above 1 KB", { ["n".repeat(1025)]: 1 }],
    ["a name with a dot", { "a.b": 1 }],
    ["a name with a dollar", { $version: 1 }],
    ["a name with a space", { o: { "a b": 1 } }],
    ["a name with a control character", { "a\u0007": 1 }],
    ["null inside an array", { a: [1, null] }],
    ["null inside an object inside an array", { a: [{ b: null }] }],
    ["null deep inside arrays", { a: [[{ b: [[null]] }]] }],
  ];
  test.each(invalid)("%s is refused by both", (_name, patch) => {
    expect(patchProblem(patch, "edgeHub")).toBeTypeOf("string");
    expect(patchProblem(patch, "hub")).toBeTypeOf("string");
  });

  test("edge hub alone refuses # in a name, and a patch above 32 KB", () => {
    expect(patchProblem({ "a#": 1 }, "edgeHub")).toContain("a#");
    expect(patchProblem({ "a#": 1 }, "hub")).toBeUndefined();
    const large = Object.fromEntries(
      Array.from({ length: 9 }, (_, index) => [`k${index}`, "x".repeat(4000)]),
    );
    expect(patchProblem(large, "edgeHub")).toContain("32 KB");
  });

  test("a document nested deeper than a stack is refused, not crashed on", () => {
    const deep = `{"a":${"[".repeat(5_000)}1${"]".repeat(5_000)}}`;
    expect(patchProblem(JSON.parse(deep), "edgeHub")).toContain("too deep");
  });

  test("the problem names its path", () => {
    expect(patchProblem({ a: { b: [{ c: null }] } }, "edgeHub")).toBe("a.b[0].c: null inside an array");
  });
});

test("the hub counts keys and strings by characters, numbers 8, booleans 4", () => {
  expect(twinSize({ ab: "cde", n: 1, b: true, z: null, l: ["xy", 2], o: { k: "v" } })).toBe(
    2 + 3 + (1 + 8) + (1 + 4) + 1 + (1 + 2 + 8) + (1 + 1 + 1),
  );
});
