import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { csv, decoder, json, notes, pairs, values } from "./decoders.ts";

describe("JSON lines", () => {
  test("an array is one reading per object", () => {
    const decoded = decoder({ format: "json" }, { device: { field: "id" } }).text(
      '[{"id":"a","t":1},{"id":"b","t":2}]',
    );
    expect(decoded).toMatchObject({ readings: [{ device: "a" }, { device: "b" }], notes: [] });
  });

  test("one bad reading in an array discards the frame whole", () => {
    expect(json.text('[{"t":1},{"x":true}]')).toEqual({ discard: "noChannels" });
  });

  test.each([
    "21.5",
    '"t"',
    "null",
    "true",
    "[1,2]",
    '[{"t":1},2]',
    '{"t":1',
    '{"t":01}',
    "{t:1}",
    '{"t":NaN}',
  ])("%s is malformed", (text) => {
    expect(json.text(text)).toEqual({ discard: "malformed" });
  });

  test.each(["{}", "[]", "[{}]", '{"t":null}', '{"t":""}'])("%s has no channels", (text) => {
    expect(json.text(text)).toEqual({ discard: "noChannels" });
  });

  test("deeply nested brackets are malformed, not a crash", () => {
    expect(json.text("[".repeat(100_000))).toEqual({ discard: "malformed" });
  });

  test("names that every object inherits are channels like others", () => {
    const decoded = json.text('{"__proto__":1,"constructor":2,"toString":3,"hasOwnProperty":4}');
    if ("discard" in decoded) throw new Error(decoded.discard);
    expect(decoded.readings[0]?.values).toEqual([
      { channel: "__proto__", value: 1 },
      { channel: "constructor", value: 2 },
      { channel: "toString", value: 3 },
      { channel: "hasOwnProperty", value: 4 },
    ]);
    expect({}).not.toHaveProperty("value");
  });

  test("a value that is no number is noted, and the others pass", () => {
    const decoded = json.text('{"t":21.5,"a":true,"b":null,"c":{},"d":[1],"e":"warm","f":"","g":" 1"}');
    expect(values(decoded)).toEqual({ t: 21.5 });
    expect(notes(decoded)).toEqual(Array(7).fill("notANumber"));
  });

  test.each([
    ["21.5", 21.5],
    ["-3", -3],
    ["+4.", 4],
    [".5", 0.5],
    ["1e3", 1000],
    ["1E-3", 0.001],
    ["007", 7],
  ])("text %s is the number %d", (text, number) => {
    expect(values(json.text(JSON.stringify({ t: text })))).toEqual({ t: number });
  });

  test.each(["0x10", "Infinity", "NaN", "1,5", "1_000", "--1", "1e", ".", "+", "1e5.5", "٣", "1 "])(
    "text %s is no number",
    (text) => {
      expect(notes(json.text(JSON.stringify({ t: 1, x: text })))).toEqual(["notANumber"]);
    },
  );

  test("a number beyond double precision is not finite", () => {
    const decoded = json.text('{"t":1,"a":1e999,"b":"-1e999"}');
    expect(values(decoded)).toEqual({ t: 1 });
    expect(notes(decoded)).toEqual(["notFinite", "notFinite"]);
    expect(json.text('{"t":1e999}')).toEqual({ discard: "noChannels" });
  });

  test("a channel name with control characters, none, or too many is noted", () => {
    const decoded = json.text(`{"t":1,"":2,"a\\u0007":3,"b\\u0085":4,"${"c".repeat(129)}":5}`);
    expect(values(decoded)).toEqual({ t: 1 });
    expect(notes(decoded)).toEqual(Array(4).fill("badChannelName"));
  });

  test("ignored fields are neither channels nor notes", () => {
    const ignoring = decoder({ format: "json", ignore: ["seq", "note"] });
    const decoded = ignoring.text('{"seq":17,"note":"x","t":1}');
    expect(values(decoded)).toEqual({ t: 1 });
    expect(notes(decoded)).toEqual([]);
  });
});

describe("CSV", () => {
  test.each([
    ["1,2,3", { t: 1, h: 2, p: 3 }],
    [" 1 ,\t2, 3 ", { t: 1, h: 2, p: 3 }],
    ["1,,3", { t: 1, p: 3 }],
    [",,3", { p: 3 }],
    ['"1","2","3"', { t: 1, h: 2, p: 3 }],
    ['"1",2,', { t: 1, h: 2 }],
    ['1,"",3', { t: 1, p: 3 }],
  ])("%s", (text, expected) => {
    expect(values(csv.text(text))).toEqual(expected);
  });

  test.each(["1,2", "1,2,3,4", "1", '"1,2",3', "1,2,3,"])("%s has the wrong number of columns", (text) => {
    expect(csv.text(text)).toEqual({ discard: "columnCount" });
  });

  test.each(['"1,2,3', '1,"2,3', '"1"x,2,3', '1,2,"3" ', '1,2,"3""'])("%s is malformed", (text) => {
    expect(csv.text(text)).toEqual({ discard: "malformed" });
  });

  test("a quoted cell may hold the separator and doubled quotes", () => {
    const named = decoder({ format: "csv", columns: ["id", "t"] }, { device: { field: "id" } });
    expect(named.text('"oven ""1"", left",20')).toMatchObject({ readings: [{ device: 'oven "1", left' }] });
  });

  test("a line of empty cells has no channels", () => {
    expect(csv.text(",,")).toEqual({ discard: "noChannels" });
  });

  test("a decimal comma needs another separator, and then is no number", () => {
    const semicolon = decoder({ format: "csv", columns: ["t", "h"], separator: ";" });
    const decoded = semicolon.text("21.5;40,2");
    expect(values(decoded)).toEqual({ t: 21.5 });
    expect(notes(decoded)).toEqual(["notANumber"]);
  });

  test("a column listed twice keeps its first value and notes the other", () => {
    const twice = decoder({ format: "csv", columns: ["t", "t"] });
    const decoded = twice.text("1,2");
    expect(values(decoded)).toEqual({ t: 1 });
    expect(notes(decoded)).toEqual(["duplicateChannel"]);
  });

  test("any cells, quoted as RFC 4180 says, come back", () => {
    const cell = fc.string({ unit: fc.constantFrom('"', ",", "a", "1", "="), minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(cell, fc.integer(), (name, number) => {
        const named = decoder({ format: "csv", columns: ["id", "t"] }, { device: { field: "id" } });
        const decoded = named.text(`"${name.replaceAll('"', '""')}",${number}`);
        expect(decoded).toMatchObject({ readings: [{ device: name, values: [{ value: number }] }] });
      }),
    );
  });
});

describe("key=value", () => {
  test.each([
    ["t=21.5 h=40", { t: 21.5, h: 40 }],
    ["  t=21.5   h=40 ", { t: 21.5, h: 40 }],
    ["t=21.5 h=", { t: 21.5 }],
  ])("%s", (text, expected) => {
    expect(values(pairs.text(text))).toEqual(expected);
  });

  test("white space around names and values does not count", () => {
    const comma = decoder({ format: "keyValue", separator: "," });
    expect(values(comma.text(" t = 21.5 , h = 40 "))).toEqual({ t: 21.5, h: 40 });
  });

  test.each(["t", "t=1 h", "=1", " ", "t=1 =2"])("%s is malformed", (text) => {
    expect(pairs.text(text)).toEqual({ discard: "malformed" });
  });

  test("what follows the first equals sign belongs to the value", () => {
    expect(notes(pairs.text("t=1 x=2=3"))).toEqual(["notANumber"]);
  });
});
