/** What becomes of numbers, names and times that no device should send: the table of docs/configuration.md, "Odd input". */
import { expect, test } from "vitest";
import { decoder, json, notes, now, pairs, values } from "./decoders.ts";

test.each([
  // A member twice: as every JSON parser of its kind, and RFC 8259 section 4 leaves it open.
  ['{"t":1,"t":2}', { t: 2 }],
  // Between two doubles: the nearer one.
  ['{"t":0.1234567890123456789}', { t: 0.12345678901234568 }],
  ['{"t":9007199254740993}', { t: 9_007_199_254_740_992 }],
  ['{"t":-0}', { t: -0 }],
  ['{"t":1e-400}', { t: 0 }],
  ['{"t":"21.5"}', { t: 21.5 }],
])("%s is %j", (text, expected) => {
  expect(values(json.text(text))).toEqual(expected);
});

const cbor = decoder({ format: "cbor" }, { framing: { kind: "cobs" } });
const named = { device: { field: "id" } };

test.each([
  ["CBOR", cbor.hex("a2 6174 01 6174 02"), cbor.hex("a3 6174 01 6174 02 6174 03")],
  ["key=value", pairs.text("t=1 t=2"), pairs.text("t=1 t=2 t=3")],
])("a name twice in %s: the first value counts, and each other is a note", (_, twice, thrice) => {
  expect([values(twice), notes(twice)]).toEqual([{ t: 1 }, ["duplicateChannel"]]);
  expect([values(thrice), notes(thrice)]).toEqual([{ t: 1 }, ["duplicateChannel", "duplicateChannel"]]);
});

test("a device named twice is the last one, in every format", () => {
  const framing = { kind: "cobs" };
  for (const decoded of [
    decoder({ format: "json" }, named).text('{"id":"a","id":"b","t":1}'),
    decoder({ format: "keyValue" }, named).text("id=a id=b t=1"),
    // {"id": "a", "id": "b", "t": 1}
    decoder({ format: "cbor" }, { ...named, framing }).hex("a3 626964 6161 626964 6162 6174 01"),
  ])
    expect(decoded).toMatchObject({ readings: [{ device: "b" }] });
});

test.each([
  ['{"t":1,"x":1e400}', ["notFinite"]],
  ['{"t":1,"x":"NaN"}', ["notANumber"]],
  ['{"t":1,"x":"0x10"}', ["notANumber"]],
  ['{"t":1,"x":"1,5"}', ["notANumber"]],
  ['{"t":1,"x":true}', ["notANumber"]],
  ['{"t":1,"x":{"y":2}}', ["notANumber"]],
  ['{"t":1,"\\u0007":2}', ["badChannelName"]],
  [`{"t":1,"${"n".repeat(129)}":2}`, ["badChannelName"]],
])("%s: the other value is counted as %j, and t is read", (text, expected) => {
  const decoded = json.text(text);
  expect(notes(decoded)).toEqual(expected);
  expect(values(decoded)).toEqual({ t: 1 });
});

test.each(['{"t":NaN}', '{"t":Infinity}', '{"t":01}', '{"t":1', "\u0001"])("%j is malformed", (text) => {
  expect(json.text(text)).toEqual({ discard: "malformed" });
});

test.each([
  [{ id: "a\u0000b" }, "badDevice"],
  [{ id: "a\u001b[31m" }, "badDevice"],
  [{ id: "\u0085" }, "badDevice"],
  [{ id: "\ud800" }, "badDevice"],
  [{ id: "" }, "badDevice"],
  [{ id: "d".repeat(129) }, "badDevice"],
  [{ id: null }, "noDevice"],
  [{}, "noDevice"],
  [{ id: {} }, "badDevice"],
])("a device named by %j is a discard", (device, expected) => {
  const decode = decoder({ format: "json" }, { device: { field: "id" } });
  expect(decode.text(JSON.stringify({ t: 1, ...device }))).toEqual({ discard: expected });
});

test.each([
  [0, "noTime"],
  [-1, "noTime"],
  [Date.UTC(1999, 11, 31, 23, 59, 59, 999), "noTime"],
  [Date.UTC(2200, 0, 1), "noTime"],
  ["yesterday", "noTime"],
  [null, "noTime"],
  [now + 60_001, "future"],
])("a reading of time %j is a discard", (at, expected) => {
  const decode = decoder({ format: "json", time: { field: "at" } });
  expect(decode.text(JSON.stringify({ t: 1, at }))).toEqual({ discard: expected });
});
