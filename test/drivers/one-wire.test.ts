/** Thermometers on 1-Wire: the file `w1_slave` in, temperatures out. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { oneWireDriverOf } from "../../src/drivers/catalogue.ts";
import { w1Slave } from "../support/sysfs-tree.ts";

const ds18b20 = oneWireDriverOf("28-0316a2795f3d");
const decode = (text: string | Uint8Array) => ds18b20.decode(Buffer.from(text), {});
const powerOnSixteenths = 0x0550;

test("every temperature of the chip comes out as it went in", () => {
  const sixteenths = fc.integer({ min: -55 * 16, max: 125 * 16 });
  fc.assert(
    fc.property(sixteenths, (value) => {
      expect(decode(w1Slave(value))).toEqual([["temperature", value / 16]]);
    }),
    { examples: [[powerOnSixteenths], [0], [-1]] },
  );
});

test("one bit flipped anywhere never gives another value", () => {
  const frame = fc.integer({ min: -55 * 16, max: 125 * 16 }).map((value) => Buffer.from(w1Slave(value)));
  fc.assert(
    fc.property(frame, (good) => {
      const value = decode(good);
      for (let bit = 0; bit < good.length * 8; bit++) {
        const bad = Buffer.from(good);
        bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const decoded = decode(bad);
        if (!("discard" in decoded)) expect(decoded).toEqual(value);
      }
    }),
    { numRuns: 30 },
  );
});

test("a file with anything before or behind it is no value", () => {
  const good = w1Slave(370);
  fc.assert(
    fc.property(fc.string({ minLength: 1, maxLength: 90 }), (garbage) => {
      expect(decode(garbage + good)).toEqual({ discard: "malformed" });
      expect(decode(good + garbage)).toEqual({ discard: "malformed" });
    }),
  );
});

test("what Linux documents as YES and NO decides, whatever t= says", () => {
  expect(decode(w1Slave(370))).toEqual([["temperature", 23.125]]);
  expect(decode(w1Slave(370, "NO"))).toEqual({ discard: "badChecksum" });
  expect(decode(w1Slave(370).replace("t=23125", "t=85000"))).toEqual([["temperature", 23.125]]);
});
