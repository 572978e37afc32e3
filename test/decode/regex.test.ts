import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decoder, notes, values } from "./decoders.ts";

const regex = (pattern: string) => decoder({ format: "regex", pattern });
const scale = regex("(?<stable>S|D)\\s+(?<weight>[-+]?[0-9.]+)\\s*kg(?:\\s+T=(?<tare>[0-9.]+))?");

describe("regular expressions", () => {
  test("the named groups of a line are its fields; one that takes nothing is absent", () => {
    expect(values(scale.text("S   12.50 kg T=0.5"))).toEqual({ weight: 12.5, tare: 0.5 });
    expect(values(scale.text("D -0.1kg"))).toEqual({ weight: -0.1 });
    expect(notes(scale.text("D -0.1kg"))).toEqual(["notANumber"]);
  });

  test("both spellings of a named group are known", () => {
    expect(values(regex("(?P<a>\\d+);(?<b>\\d+)").text("1;2"))).toEqual({ a: 1, b: 2 });
  });

  test.each(["S 12.50 kg!", " S 12.50 kg", "S 12.50", "S kg", "x"])(
    "%j, of which it takes a part at most, is malformed",
    (text) => {
      expect(scale.text(text)).toEqual({ discard: "malformed" });
    },
  );

  test("a group may name the device, or be the time", () => {
    const pattern = "(?<id>\\w+)@(?<at>\\d+):(?<t>[0-9.]+)";
    const decode = { format: "regex", pattern, time: { field: "at", unit: "s" } };
    expect(decoder(decode, { device: { field: "id" } }).text("oven@1735689600:21.5")).toMatchObject({
      readings: [{ device: "oven", timeMs: 1_735_689_600_000, values: [{ channel: "t", value: 21.5 }] }],
    });
  });

  test("bytes that are no text are a discard", () => {
    expect(scale.hex("53 ff")).toEqual({ discard: "invalidUtf8" });
    expect(scale.hex("53 00")).toEqual({ discard: "nul" });
  });

  // A backtracking engine would try each of these for longer than the test may take.
  test.each([
    "(?<x>(a+)+)b",
    "(?<x>(a|a)*)b",
    "(?<x>(a|aa)+)$b",
    "(?<x>(.*a){12})b",
    "(?<x>a?){40}a{40}b",
    "(?<x>([ab]*)*)c",
  ])("%s takes no longer for a text that was made for it", (pattern) => {
    expect(regex(pattern).text("a".repeat(4_096))).toEqual({ discard: "malformed" });
  });

  test("a text of 4,096 characters is read, a longer one is a discard", () => {
    const any = regex("(?<x>[0-9]{1,3}).*");
    expect(values(any.text(`123${"x".repeat(4_093)}`))).toEqual({ x: 123 });
    expect(any.text(`123${"x".repeat(4_094)}`)).toEqual({ discard: "overlong" });
  });

  test("any text gives values or a reason", () => {
    const any = regex("(?<a>[^;]*);(?<b>.*)");
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const decoded = any.text(text);
        if ("discard" in decoded) expect(decoded.discard).toMatch(/^\w+$/);
        else expect(decoded.readings).toHaveLength(1);
      }),
    );
  });
});
