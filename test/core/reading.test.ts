import { expect, test } from "vitest";
import { isPlainName } from "../../src/core/reading.ts";

test.each(["a", "oven-1", "Ofen 3", "温度", "__proto__", "a.b/c#d", " ", "x".repeat(128)])(
  "%j is a name",
  (text) => {
    expect(isPlainName(text)).toBe(true);
  },
);

test.each(["", "a\nb", "\t", "\u0000", "\u001f", "\u007f", "\u0080", "\u009f", "x".repeat(129)])(
  "%j is none",
  (text) => {
    expect(isPlainName(text)).toBe(false);
  },
);
