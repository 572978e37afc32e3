/** The scanner gives what `JSON.parse` gives, or leaves the text to it. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { scanNumbers } from "../../src/infer/number-scanner.ts";

const scan = (text: string) => scanNumbers(Buffer.from(text, "utf8"));

/** What `JSON.parse` says of it: shape and numbers, or undefined when these are no even arrays of numbers. */
function parsed(text: string): { shape: number[]; data: number[] } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || Object.keys(value).join() !== "data") return undefined;
  const shape: number[] = [];
  for (let at: unknown = Object.values(value)[0]; Array.isArray(at); at = at[0]) shape.push(at.length);
  const data: number[] = [];
  const walk = (at: unknown, depth: number): boolean => {
    if (depth === shape.length) return typeof at === "number" && data.push(Math.fround(at)) > 0;
    return Array.isArray(at) && at.length === shape[depth] && at.every((element) => walk(element, depth + 1));
  };
  return shape.length > 0 && walk(Object.values(value)[0], 0) ? { shape, data } : undefined;
}

function expectEqual(text: string): void {
  const scanned = scan(text);
  if (!scanned) return;
  const wanted = parsed(text);
  expect({ text, shape: scanned.shape, data: [...scanned.data] }).toEqual({ text, ...wanted });
}

const space = fc.stringMatching(/^[ \t\n\r]{0,2}$/);
const numberText = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 0, max: 255 }).map(String) },
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => JSON.stringify(x)),
  fc.float({ noNaN: true, noDefaultInfinity: true }).map((x) => JSON.stringify(x)),
  fc.integer().map(String),
  fc.maxSafeInteger().map((n) => `${n}`),
  fc.stringMatching(/^-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?$/),
);

function textOf(shape: readonly number[], next: () => string, blank: () => string): string {
  const [size, ...rest] = shape;
  if (size === undefined) return next();
  const elements = Array.from({ length: size }, () => `${blank()}${textOf(rest, next, blank)}${blank()}`);
  return `[${elements.join(",")}]`;
}

const bodies = fc
  .tuple(
    fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
    fc.array(numberText, { minLength: 1, maxLength: 20 }),
    fc.array(space, { minLength: 1, maxLength: 7 }),
  )
  .map(([shape, numbers, spaces]) => {
    let n = 0;
    let s = 0;
    const blank = () => spaces[s++ % spaces.length] ?? "";
    const next = () => numbers[n++ % numbers.length] ?? "0";
    return `${blank()}{${blank()}"data"${blank()}:${blank()}${textOf(shape, next, blank)}${blank()}}${blank()}`;
  });

describe("what clients send", () => {
  test("a batch of pixels is read, with and without spaces", () => {
    for (const text of ['{"data":[[[[0,255],[7,10]]]]}', '{"data": [[[[0, 255],\n [7, 10]]]] }\n']) {
      expect(scan(text)).toEqual({ shape: [1, 1, 2, 2], data: Float32Array.of(0, 255, 7, 10) });
    }
  });

  test("even arrays of any numbers are read, and equal to the last bit", () => {
    fc.assert(
      fc.property(bodies, (text) => {
        expectEqual(text);
      }),
      { numRuns: 2_000 },
    );
  });
});

test("decimals of up to 15 digits are read here, and not left to JSON.parse", () => {
  const decimal = fc.stringMatching(/^-?(0|[1-9][0-9]{0,6})(\.[0-9]{1,8})?$/);
  fc.assert(
    fc.property(fc.array(decimal, { minLength: 1 }), (numbers) => {
      const text = `{"data":[[${numbers.join(", ")}]]}`;
      expect(scan(text)).toBeDefined();
      expectEqual(text);
    }),
    { numRuns: 2_000 },
  );
});

describe("everything else is left to JSON.parse", () => {
  test.each([
    ["no object", "[1]"],
    ["nothing", ""],
    ["another member", '{"data":[1],"x":1}'],
    ["an escaped name", '{"d\\u0061ta":[1]}'],
    ["a bare number", '{"data":1}'],
    ["an empty array", '{"data":[]}'],
    ["an empty array among others", '{"data":[[1],[]]}'],
    ["ragged arrays", '{"data":[[1,2],[3]]}'],
    ["arrays of two depths", '{"data":[[1],2]}'],
    ["a number among arrays", '{"data":[1,[2]]}'],
    ["null", '{"data":[1,null]}'],
    ["a text", '{"data":["1"]}'],
    ["NaN", '{"data":[NaN]}'],
    ["a leading zero", '{"data":[01]}'],
    ["a leading zero before a point", '{"data":[01.5]}'],
    ["two points", '{"data":[1.2.3]}'],
    ["a plus", '{"data":[+1]}'],
    ["a bare minus", '{"data":[-]}'],
    ["no digit behind the point", '{"data":[1.]}'],
    ["no digit before the point", '{"data":[.5]}'],
    ["an empty exponent", '{"data":[1e]}'],
    ["a comma too many", '{"data":[1,]}'],
    ["a comma too few", '{"data":[1 2]}'],
    ["a bracket too few", '{"data":[[1]}'],
    ["a bracket too many", '{"data":[1]]}'],
    ["no end", '{"data":[1'],
    ["something behind the end", '{"data":[1]}x'],
    ["a form feed", '{"data":[1,\f2]}'],
    ["arrays nested beyond all measure", `{"data":${"[".repeat(100_000)}`],
  ])("%s", (_, text) => {
    expect(scan(text)).toBeUndefined();
  });

  test("any text that is nearly such a body gives what JSON.parse gives, or nothing", () => {
    const piece = fc.constantFrom("[", "]", ",", "0", "1", "-", ".", "e", "E", "+", " ", "{", "}", '"', "\0");
    fc.assert(
      fc.property(bodies, fc.nat(), fc.nat({ max: 3 }), piece, (text, place, removed, inserted) => {
        const at = place % (text.length + 1);
        expectEqual(text.slice(0, at) + inserted + text.slice(at + removed));
      }),
      { numRuns: 5_000 },
    );
  });

  test("any bytes end soon, and never in an exception", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        scanNumbers(bytes);
        scanNumbers(Buffer.concat([Buffer.from('{"data":['), bytes]));
      }),
    );
  });
});
