/** What a model's classes are called as channels. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { channelNamePattern, isOrdinaryName } from "../../src/core/reading.ts";
import { labelChannels } from "../../src/infer/label-channels.ts";

const labelled = (...names: string[]) => names.map((name, index) => ({ id: `n${index}`, name }));
const namesOf = (...names: string[]) => {
  const channels = labelChannels(labelled(...names), names.length);
  return names.map((_, index) => channels.nameOf(index));
};

test("a label is a channel as it is, or with _ for what no channel's name holds", () => {
  expect(namesOf("tench", "great white shark", "jack-o'-lantern", "St. Bernard $ #1")).toEqual([
    "tench",
    "great_white_shark",
    "jack-o'-lantern",
    "St_Bernard_1",
  ]);
});

test("classes of one name, of none, and of a word of the language are told by their numbers", () => {
  expect(namesOf("crane", "maillot", "crane", "", "constructor", "crane_2")).toEqual([
    "crane_0",
    "maillot",
    "crane_2_",
    "class3",
    "class4",
    "crane_2",
  ]);
});

test("without labels a class is told by its number", () => {
  const channels = labelChannels(undefined, 10);
  expect(channels.nameOf(7)).toBe("class7");
  expect(["class9", "class10", "class07", "class", "tench"].map((name) => channels.indexOf(name))).toEqual([
    9,
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});

test("any labels are names of channels, each of one class", () => {
  const names = fc.array(
    fc.oneof(fc.string({ unit: "binary", maxLength: 90 }), fc.constantFrom("a", "a_1", "_1")),
    {
      minLength: 1,
      maxLength: 20,
    },
  );
  fc.assert(
    fc.property(names, (labels) => {
      const channels = labelChannels(labelled(...labels), labels.length);
      labels.forEach((_, index) => {
        const name = channels.nameOf(index);
        expect(name).toMatch(channelNamePattern);
        expect(isOrdinaryName(name) && name.isWellFormed()).toBe(true);
        expect(channels.indexOf(name)).toBe(index);
      });
    }),
  );
});
