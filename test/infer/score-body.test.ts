/** Bodies of `/score` beyond what the scanner reads, and NumPy files: read, or refused by name; never an exception. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { isRefusal } from "../../src/infer/refusal.ts";
import { readScoreBody } from "../../src/infer/score-body.ts";

const json = { kind: "json" } as const;
const read = (text: string) => {
  const found = readScoreBody(Buffer.from(text), json);
  return isRefusal(found) ? found.refusal : { shape: found.shape, data: [...found.data] };
};

test("other members, any order and floats of any length are read like plain pixels", () => {
  const long = "0.12345678901234567890";
  expect(read(`{"method":"score","data":[[1,2],[3,${long}]]}`)).toEqual({
    shape: [2, 2],
    data: [1, 2, 3, Math.fround(Number(long))],
  });
  expect(read('{"data":[[1e2]]}')).toEqual({ shape: [1, 1], data: [100] });
});

test("a refusal names the place", () => {
  const message = (text: string) => {
    const found = readScoreBody(Buffer.from(text), json);
    return isRefusal(found) ? found.message : "none";
  };
  expect(message('{"data":[[1,2],[3]]}')).toContain("`data[1]`");
  expect(message('{"data":[[1,2],[3,"4"]]}')).toContain("`data[1][1]`");
  expect(message('{"data":[[1,2],5]}')).toContain("`data[1]`");
  expect(message("[1]")).toContain('"data"');
});

test("any JSON and any text end in a value", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.string(), (value, text) => {
      for (const body of [JSON.stringify({ data: value }), JSON.stringify(value), text])
        expect(readScoreBody(Buffer.from(body), json)).toBeTypeOf("object");
    }),
  );
});

test("any bytes as a tensor or a NumPy file end in a value", () => {
  const header = Buffer.from("\x93NUMPY\x01\x00", "latin1");
  const size = fc.nat({ max: 1_000_000_000 });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(size, { maxLength: 8 }), (bytes, shape) => {
      for (const type of ["float32", "uint8", "int64", "bool"] as const) {
        const form = { kind: "binary", shape, type } as const;
        expect(readScoreBody(bytes, form)).toBeTypeOf("object");
        expect(readScoreBody(Buffer.concat([header, bytes]), form)).toBeTypeOf("object");
      }
    }),
  );
});

test("a NumPy file whose shape is a long row of digits is refused at once", () => {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${"1".repeat(30)}x), }`;
  const lead = Buffer.from("\x93NUMPY\x01\x00", "latin1");
  const body = Buffer.concat([lead, Buffer.from([text.length, 0]), Buffer.from(text)]);
  const beganMs = performance.now();
  expect(readScoreBody(body, { kind: "binary", shape: undefined, type: "float32" })).toMatchObject({
    refusal: "malformed",
  });
  expect(performance.now() - beganMs).toBeLessThan(1_000);
});
