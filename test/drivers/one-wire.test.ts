/** Thermometers on 1-Wire: the file `w1_slave` in, temperatures out. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { oneWireDriverOf, oneWireDrivers } from "../../src/drivers/catalogue.ts";
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

test.each(oneWireDrivers.map((driver) => [driver.name, driver] as const))(
  "%s: a scratchpad with one bit flipped is no value, although the kernel took it for good",
  (_, driver) => {
    const good = driver.vectors.filter(({ expected }) => !("discard" in expected));
    for (const text of good.map(({ frame }) => Buffer.from(frame, "hex").toString())) {
      const [scratchpad = ""] = text.split(" :");
      for (let bit = 0; bit < 9 * 8; bit++) {
        const bytes = Buffer.from(scratchpad.replaceAll(" ", ""), "hex");
        bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        const flipped = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
        // In both of its lines.
        const file = Buffer.from(text.replaceAll(scratchpad, flipped));
        expect(driver.decode(file, {})).toEqual({ discard: "badChecksum" });
      }
    }
  },
);

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
