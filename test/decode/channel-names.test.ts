import { expect, test } from "vitest";
import { ChannelNames } from "../../src/decode/channel-names.ts";

const names = new ChannelNames({
  temperature: { state: "on", aliases: ["temp", "humidity"] },
  humidity: { state: "on", aliases: ["rh"] },
});

test("an alias, a channel and a spelling nobody knows", () => {
  expect(["temp", "rh", "temperature", "co2"].map((s) => names.canonical(s))).toEqual([
    "temperature",
    "humidity",
    "temperature",
    "co2",
  ]);
});

test("a channel's name always means itself", () => {
  expect(names.canonical("humidity")).toBe("humidity");
});

test("spellings that every object inherits are spellings like others", () => {
  for (const spelling of ["__proto__", "constructor", "toString"]) {
    expect(names.canonical(spelling)).toBe(spelling);
  }
});
