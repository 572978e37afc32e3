import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson, fingerprint, isObject } from "../../src/core/json.ts";

test("only plain objects are objects", () => {
  expect([{}, { a: 1 }].every(isObject)).toBe(true);
  expect([null, [], 1, "x", undefined, true].some(isObject)).toBe(false);
});

test("keys are sorted at every depth, arrays keep their order, undefined is left out", () => {
  expect(canonicalJson({ b: [{ d: 1, c: 2 }, 1], a: undefined, "": { z: 1, y: null } })).toBe(
    '{"":{"y":null,"z":1},"b":[{"c":2,"d":1},1]}',
  );
});

test("a key named __proto__ counts", () => {
  expect(fingerprint(JSON.parse('{"__proto__":{"a":1}}'))).not.toBe(fingerprint({}));
});

test("any JSON: shuffled keys give the same fingerprint, another value another one", () => {
  /** The same value with the keys of every object turned round. */
  const reversed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(reversed);
    if (!isObject(value)) return value;
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([k, v]) => [k, reversed(v)]),
    );
  };
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (one, two) => {
      expect(fingerprint(reversed(one))).toBe(fingerprint(one));
      expect(JSON.parse(canonicalJson(one))).toEqual(JSON.parse(JSON.stringify(one)));
      expect(fingerprint(one) === fingerprint(two)).toBe(canonicalJson(one) === canonicalJson(two));
      expect(fingerprint(one)).toMatch(/^[0-9a-f]{16}$/);
    }),
  );
});
