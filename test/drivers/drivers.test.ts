/** What every driver of the catalogue must hold, whichever it is. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { i2cDrivers, oneWireDrivers } from "../../src/drivers/catalogue.ts";
import type { Driver } from "../../src/drivers/driver.ts";
import { optionsOf } from "./conversation.ts";

const drivers: readonly Driver[] = [...i2cDrivers, ...oneWireDrivers];

const bytesOf = (hex: string) => Buffer.from(hex.replaceAll(/\s/g, ""), "hex");

test("names are unique, and of the form that a configuration takes", () => {
  const names = drivers.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toMatch(/^[a-z0-9-]{1,32}$/);
});

test("a chip on I2C has addresses, all of seven bits", () => {
  for (const { addresses } of i2cDrivers) {
    expect(addresses.length).toBeGreaterThan(0);
    if (addresses === "any") continue;
    for (const address of addresses) expect(address >= 0x03 && address <= 0x77).toBe(true);
  }
});

test("a family of thermometers has one driver", () => {
  const families = oneWireDrivers.map(({ family }) => family);
  expect(new Set(families).size).toBe(families.length);
  for (const family of families) expect(family).toMatch(/^[0-9a-f]{2}$/);
});

describe.each(drivers.map((driver) => [driver.name, driver] as const))("%s", (_, driver) => {
  test("has a vector that is good and one that is not, a title and a datasheet", () => {
    const { vectors, title, datasheet } = driver;
    expect(vectors.some(({ expected }) => !("discard" in expected))).toBe(true);
    expect(vectors.some(({ expected }) => "discard" in expected)).toBe(true);
    expect(title).not.toBe("");
    expect(datasheet).not.toBe("");
  });

  test.each(driver.vectors.map((vector) => [vector.title, vector] as const))("decodes: %s", (_, vector) => {
    const options = optionsOf(driver, vector.options);
    const decoded = driver.decode(bytesOf(vector.frame), options);
    if ("discard" in decoded || "discard" in vector.expected) {
      expect(decoded).toEqual(vector.expected);
      return;
    }
    const expected = Object.entries(vector.expected);
    expect(decoded.map(([channel]) => channel)).toEqual(expected.map(([channel]) => channel));
    for (const [i, [, value]] of expected.entries()) {
      const tolerance = vector.tolerance ?? Math.abs(value) * 1e-9;
      expect(Math.abs((decoded[i]?.[1] ?? Number.NaN) - value)).toBeLessThanOrEqual(tolerance);
    }
  });

  test("the values of a good vector are within the physical range of their channels", () => {
    for (const { expected, options } of driver.vectors) {
      if ("discard" in expected) continue;
      const channels = driver.channels(optionsOf(driver, options));
      for (const [channel, value] of Object.entries(expected)) {
        const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = channels[channel] ?? {};
        expect(channel in channels && value >= min && value <= max).toBe(true);
      }
    }
  });

  test("any bytes at all give values of known channels or a discard, and never an error", () => {
    const frames = driver.vectors.map(({ frame }) => bytesOf(frame));
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      // Of the length that it expects, or the check of the length would be all that is tried.
      fc
        .constantFrom(...frames)
        .chain(({ length }) => fc.uint8Array({ minLength: length, maxLength: length })),
    );
    const chosen = fc.constantFrom(...driver.vectors.map(({ options }) => optionsOf(driver, options)));
    fc.assert(
      fc.property(bytes, chosen, (frame, options) => {
        const decoded = driver.decode(frame, options);
        if ("discard" in decoded) return;
        const known = driver.channels(options);
        for (const [channel, value] of decoded) {
          expect(channel in known).toBe(true);
          expect(typeof value).toBe("number");
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("a frame that is cut short is a discard", () => {
    for (const { frame, expected, options } of driver.vectors) {
      if ("discard" in expected) continue;
      const bytes = bytesOf(frame);
      for (let length = 0; length < bytes.length; length++)
        expect(driver.decode(bytes.subarray(0, length), optionsOf(driver, options))).toHaveProperty(
          "discard",
        );
    }
  });

  test("a frame with garbage before or behind it is a discard: no answer is too long", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...driver.vectors.filter(({ expected }) => !("discard" in expected))),
        fc.uint8Array({ minLength: 1, maxLength: 40 }),
        ({ frame, options }, garbage) => {
          for (const bytes of [
            [garbage, bytesOf(frame)],
            [bytesOf(frame), garbage],
          ])
            expect(driver.decode(Buffer.concat(bytes), optionsOf(driver, options))).toHaveProperty("discard");
        },
      ),
      { numRuns: 300 },
    );
  });
});

// A driver says by a vector that its frames have checksums.
const checked = drivers.filter(({ vectors }) =>
  vectors.some(({ expected }) => "discard" in expected && expected.discard === "badChecksum"),
);
test.each(checked.map((driver) => [driver.name, driver] as const))(
  "%s: a flipped bit of a good frame never gives another value",
  (_, driver) => {
    for (const { frame, expected, options } of driver.vectors) {
      if ("discard" in expected) continue;
      const good = driver.decode(bytesOf(frame), optionsOf(driver, options));
      for (let bit = 0; bit < 8 * bytesOf(frame).length; bit++) {
        const flipped = bytesOf(frame);
        flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        const decoded = driver.decode(flipped, optionsOf(driver, options));
        if (!("discard" in decoded)) expect(decoded).toEqual(good);
      }
    }
  },
);
