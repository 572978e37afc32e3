import fc from "fast-check";
import { expect, test } from "vitest";
import { parseJsonPath, valueAt } from "../../src/core/json-path.ts";

/** RFC 9535 section 2.3.1.3 and 2.3.3.3, its examples of names and indexes, and the document of section 1.5. */
const document = {
  o: { "j j": { "k.k": 3 } },
  "'": { "@": 2 },
  a: ["a", "b"],
  store: { book: [{ title: "Sayings of the Century", price: 8.95 }], bicycle: { color: "red", price: 399 } },
};

test.each([
  ["$.o['j j']", { "k.k": 3 }],
  ["$.o['j j']['k.k']", 3],
  [`$.o["j j"]["k.k"]`, 3],
  [`$["'"]["@"]`, 2],
  [`$['\\'']['@']`, 2],
  ["$.a[1]", "b"],
  ["$.a[-2]", "a"],
  ["$.store.book[0].price", 8.95],
  ["$", document],
  ["$.a[2]", undefined],
  ["$.a[-3]", undefined],
  ["$.a.length", undefined],
  ["$.o[0]", undefined],
  ["$.store.book.title", undefined],
  ["$.constructor", undefined],
  ["$.__proto__", undefined],
  ["$.store.bicycle.color.length", undefined],
])("%s leads to %j", (text, expected) => {
  const path = parseJsonPath(text);
  expect(path && valueAt(document, path)).toEqual(expected);
  expect(path).toBeDefined();
});

test.each([
  "",
  "a",
  ".a",
  "$a",
  "$.",
  "$.1a",
  "$..a",
  "$.*",
  "$[*]",
  "$[0:1]",
  "$[?@.a]",
  "$[01]",
  "$[-0]",
  "$['a",
  "$[a]",
  "$['\\x']",
  "$.a b",
  `$.${"a".repeat(600)}`,
])("%s is no singular query", (text) => {
  expect(parseJsonPath(text)).toBeUndefined();
});

test("any member of any object is reached by its quoted name, and any text is a path or none", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 40 }), fc.jsonValue(), (name, value) => {
      const path = parseJsonPath(`$[${JSON.stringify(name)}]`);
      const object = Object.fromEntries([[name, value]]);
      expect(path && valueAt(object, path)).toEqual(value);
    }),
  );
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), fc.jsonValue(), (text, value) => {
      valueAt(value, parseJsonPath(`$${text}`) ?? []);
    }),
  );
});
