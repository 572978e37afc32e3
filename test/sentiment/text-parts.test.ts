import fc from "fast-check";
import { expect, test } from "vitest";
import { textParts } from "../../src/sentiment/text-parts.ts";

const parts = (text: string, limit?: number) => [...textParts(text, limit)].map((part) => part.text);
const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const elementsOf = (text: string) => [...segmenter.segment(text)].length;
/** One text element of 11 UTF-16 units. */
const family = "👨‍👩‍👧‍👦";

test("parts are the text again, and none holds more elements than may be", () => {
  const pieces = fc.constantFrom(
    "a",
    "é",
    "é",
    family,
    " ",
    "\r\n",
    ". ",
    "! ",
    "word ",
    "。",
    "👍🏽",
    "\u{1F1E9}\u{1F1EA}",
  );
  const text = fc.array(pieces, { maxLength: 200 }).map((some) => some.join(""));
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 40 }), (whole, limit) => {
      const found = [...textParts(whole, limit)];
      expect(found.map((part) => part.text).join("")).toBe(whole);
      for (const part of found) expect(elementsOf(part.text)).toBeLessThanOrEqual(limit);
    }),
  );
});

test("text elements count, not UTF-16 units: 5,120 families are one part, and one more makes two", () => {
  expect(parts(family.repeat(5_120))).toHaveLength(1);
  const [first, second] = [...textParts(family.repeat(5_121))];
  expect(first).toEqual({ text: family.repeat(5_120), elements: 5_120 });
  expect(second).toEqual({ text: family, elements: 1 });
});

test("it is cut behind a sentence, else behind a word, else where it is full", () => {
  expect(parts("One is here. Two is there and goes on", 20)).toEqual([
    "One is here. ",
    "Two is there and ",
    "goes on",
  ]);
  expect(parts('He said "so it is." And left the room', 24)).toEqual([
    'He said "so it is." ',
    "And left the room",
  ]);
  expect(parts("一二三四五六七。八九十一二三四五", 10)).toEqual(["一二三四五六七。", "八九十一二三四五"]);
  expect(parts("abcdefghijklmnop", 6)).toEqual(["abcdef", "ghijkl", "mnop"]);
  // A border in the first half would make parts of nothing.
  expect(parts("a. bcdefghijkl", 10)).toEqual(["a. bcdefgh", "ijkl"]);
});

test("an element without end is cut all the same, and never inside a pair of surrogates", () => {
  const endless = `x${"\u{1E8D0}".repeat(120_000)}`;
  const found = parts(endless);
  expect(found.join("")).toBe(endless);
  expect(found.length).toBeGreaterThan(2);
  for (const part of found) {
    expect(part.length).toBeLessThanOrEqual(100_000);
    expect(part.isWellFormed()).toBe(true);
  }
});

test("no text is one part without any", () => {
  expect(parts("")).toEqual([""]);
});
