/**
 * Examples: Joe Mehaffey and Dale DePriest, "NMEA data" (https://www.gpsinformation.org/dale/nmea.htm), GGA and RMC; gpsd,
 * "NMEA Revealed" (https://gpsd.gitlab.io/gpsd/NMEA.html), XDR.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decoder, notes, now, values } from "./decoders.ts";

const nmea = decoder({ format: "nmea" });
const timed = decoder({ format: "nmea", time: { field: "utc", unit: "iso" } });
const gga = "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47";
const rmc = "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A";

/** With the checksum that belongs to it. */
function sentence(content: string): string {
  const sum = [...content].reduce((all, character) => all ^ character.charCodeAt(0), 0);
  return `$${content}*${sum.toString(16).toUpperCase().padStart(2, "0")}`;
}

describe("NMEA 0183", () => {
  test("a fix", () => {
    expect(values(nmea.text(gga))).toEqual({
      fixQuality: 1,
      satellites: 8,
      latitude: 48 + 7.038 / 60,
      longitude: 11 + 31 / 60,
      hdop: 0.9,
      altitude: 545.4,
    });
  });

  test("the recommended minimum; speed in m/s, west is negative", () => {
    expect(values(nmea.text(`${rmc}\r`))).toEqual({
      latitude: 48 + 7.038 / 60,
      longitude: 11 + 31 / 60,
      speed: expect.closeTo((22.4 * 1_852) / 3_600, 12),
      course: 84.4,
      magneticVariation: -3.1,
    });
  });

  test("transducers by their names, a nameless one by its type", () => {
    const decoded = nmea.text(sentence("WIXDR,P,1.01,B,BARO,C,21.5,C,,H,,P,HUM,A,-0.3,D,PITCH"));
    expect(values(decoded)).toEqual({ BARO: 1.01, C: 21.5, PITCH: -0.3 });
    expect(notes(decoded)).toEqual([]);
  });

  test("other talkers count, and lower-case checksums", () => {
    expect(values(nmea.text(rmc.replace("*6A", "*6a")))).toBeTypeOf("object");
    expect(values(nmea.text(sentence("GNRMC,,A,,,,,1.0,,,,,A")))).toEqual({
      speed: 1_852 / 3_600,
    });
  });

  test("the device's time: RMC has the date, GGA that of the nearest day", () => {
    const time = (text: string) => {
      const decoded = timed.text(text);
      return "discard" in decoded ? decoded.discard : decoded.readings[0]?.timeMs;
    };
    // Its year is 1994, and no reading is older than 2000.
    expect(time(rmc)).toBe("noTime");
    expect(time(sentence("GPRMC,235960.50,A,,,,,1.0,,311224,,"))).toBe(Date.UTC(2025, 0, 1, 0, 0, 0, 500));
    // It is noon of 1 January 2025 at the receipt.
    expect(now).toBe(Date.UTC(2025, 0, 1, 12));
    expect(time(sentence("GPGGA,115959.00,,,,,0,03,,,M,,M,,"))).toBe(now - 1_000);
    const midnight = Buffer.from(sentence("GPGGA,235959.00,,,,,0,03,,,M,,M,,"));
    expect(timed.bytes(midnight, Date.UTC(2025, 0, 2, 0, 0, 3))).toMatchObject({
      readings: [{ timeMs: Date.UTC(2025, 0, 1, 23, 59, 59) }],
    });
    expect(time(sentence("GPRMC,123519,A,,,,,1.0,,310299,,"))).toBe("noTime");
    expect(time(sentence("WIXDR,C,21.5,C,AIR"))).toBe("noTime");
  });

  test("numbers may lack their leading or trailing zeros, and names may be of any letters", () => {
    expect(values(nmea.text(sentence("GPGGA,,,,,,1,08.,.9,-.5,M,,M,,")))).toEqual({
      fixQuality: 1,
      satellites: 8,
      hdop: 0.9,
      altitude: -0.5,
    });
    const bytes = Buffer.from("WIXDR,C,21.5,C,Küche");
    const sum = bytes.reduce((all, byte) => all ^ byte, 0);
    expect(values(nmea.text(`$${bytes}*${sum.toString(16).padStart(2, "0")}`))).toEqual({ Küche: 21.5 });
    expect(values(nmea.text(sentence("WIXDR,C,.,C,A,C,+,C,B,C,1e3,C,D,C,2,C,E")))).toEqual({ E: 2 });
  });

  test("what the device calls invalid is no value", () => {
    expect(nmea.text(sentence("GPRMC,123519,V,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W"))).toEqual({
      discard: "noChannels",
    });
    const unfixed = nmea.text(sentence("GPGGA,123519,4807.038,N,01131.000,E,0,00,99.9,545.4,M,46.9,M,,"));
    expect(values(unfixed)).toEqual({ fixQuality: 0, satellites: 0 });
  });

  test.each([
    ["4860.000,N,01131.000,E", "minutes beyond 60"],
    ["9107.038,N,01131.000,E", "beyond the pole"],
    ["4807.038,,01131.000,E", "no hemisphere"],
    ["4807.038,N,,E", "half a position"],
    ["48o7.038,N,01131.000,E", "a letter"],
  ])("the position %s is none: %s", (text) => {
    expect(values(nmea.text(sentence(`GPRMC,123519,A,${text},5.0,,230394,,`)))).toEqual({
      speed: (5 * 1_852) / 3_600,
    });
  });

  test.each([
    [gga.replace("*47", ""), "malformed"],
    [`x${gga}`, "malformed"],
    [`${gga}x`, "malformed"],
    [gga.replace("*47", "*48"), "badChecksum"],
    [gga.replace("545.4", "545.5"), "badChecksum"],
    [sentence("GPGSV,3,1,11,03,03,111,00"), "otherSentence"],
    [sentence("PGRME,15.0,M,45.0,M,25.0,M"), "otherSentence"],
    [sentence("PXRMC,123519,A"), "otherSentence"],
    ["$*00", "malformed"],
    ["$GPGGA", "malformed"],
  ])("%s is a discard: %s", (text, reason) => {
    expect(nmea.text(text)).toEqual({ discard: reason });
  });

  test("no flipped bit becomes another value", () => {
    for (const original of [gga, rmc]) {
      const right = nmea.text(original);
      for (let bit = 0; bit < original.length * 8; bit++) {
        const bytes = Buffer.from(original);
        bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        const decoded = nmea.bytes(bytes);
        // The case of the checksum's letters says nothing.
        if (!("discard" in decoded)) expect(decoded).toEqual(right);
      }
    }
  });

  test("a garbage prefix never becomes a reading, also when it is the beginning of a sentence", () => {
    const begun = fc.oneof(
      fc.nat(rmc.length).map((end) => rmc.slice(0, end)),
      fc.nat(gga.length).map((end) => gga.slice(0, end)),
    );
    const prefix = fc.oneof(
      begun,
      fc.string({ unit: fc.constantFrom(..."$*,!G1\r\n\u00e9") }),
      fc.string({ unit: "binary" }),
    );
    fc.assert(
      fc.property(prefix, (garbage) => {
        fc.pre(garbage !== "");
        expect(nmea.text(garbage + gga)).toHaveProperty("discard");
      }),
      { numRuns: 2_000 },
    );
  });

  test("whatever comes is a reading of finite values or a discard", () => {
    const near = fc
      .array(
        fc.oneof(fc.constantFrom("4807.038", "N", "A", "1", "", "0.9", "123519", "230394"), fc.string()),
        {
          maxLength: 20,
        },
      )
      .map((fields) => sentence(["GPGGA", ...fields].join(",")));
    fc.assert(
      fc.property(fc.oneof(near, fc.string()), (text) => {
        const decoded = nmea.text(text);
        if ("discard" in decoded) return;
        for (const { values: all } of decoded.readings)
          for (const { value } of all) expect(Number.isFinite(value)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});
