import { expect, test } from "vitest";
import { bodyOf } from "../../src/sentiment/apis.ts";
import { batches, type Document } from "../../src/sentiment/batches.ts";

const all = (documents: Document[]) => [...batches(documents, "en")];

test("ten documents are a request, and the ids are ours", () => {
  const found = all(
    Array.from({ length: 23 }, (_, n) => ({ text: `text ${n}`, language: n === 0 ? "de" : undefined })),
  );
  expect(found.map((batch) => batch.length)).toEqual([10, 10, 3]);
  expect(found[2]?.map(({ sent, document }) => [sent.id, document])).toEqual([
    ["1", 20],
    ["2", 21],
    ["3", 22],
  ]);
  expect(found[0]?.slice(0, 2).map(({ sent }) => sent.language)).toEqual(["de", "en"]);
});

test("no request is larger than 1 MB, whatever its texts become in JSON", () => {
  // Six bytes each in JSON, and no text element but itself.
  const controls = Array.from({ length: 2 }, () => ({ text: "\u0001".repeat(30_000) }));
  // One text element of 120 KB.
  const marked = Array.from({ length: 12 }, () => ({ text: `x${"\u0301".repeat(60_000)}` }));
  const family = Array.from({ length: 2 }, () => ({ text: "👨‍👩‍👧‍👦".repeat(5_120) }));
  for (const some of [marked, [...controls, ...family]]) {
    const found = all(some);
    for (const batch of found) {
      const body = bodyOf(
        "analyzeText",
        batch.map(({ sent }) => sent),
      );
      expect(Buffer.byteLength(body)).toBeLessThanOrEqual(1_000_000);
    }
    for (const [index, { text }] of some.entries()) {
      const sent = found.flat().filter(({ document }) => document === index);
      expect(sent.map((part) => part.text).join("")).toBe(text);
    }
  }
  expect(all(marked).map((batch) => batch.length)).toEqual([8, 4]);
});

test("half of a surrogate pair is sent as the sign for what is no character", () => {
  expect(all([{ text: "a\ud83d" }])[0]?.[0]?.sent.text).toBe("a\ufffd");
});
