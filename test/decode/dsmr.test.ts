import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checksumOf } from "../../src/core/checksum.ts";
import { decoder, values } from "./decoders.ts";
import { dsmr2, dsmr5, real } from "./telegrams.ts";

const framing = { kind: "telegrams" };
const dsmr = decoder({ format: "dsmr" }, { framing });
const optional = decoder({ format: "dsmr", checksum: "optional" }, { framing });
const timed = decoder({ format: "dsmr", time: { field: "utc", unit: "iso" } }, { framing });

/** A telegram of these lines, with its checksum. */
function telegram(...lines: string[]): string {
  const text = `/ABC5\r\n\r\n${lines.join("\r\n")}\r\n!`;
  return `${text}${checksumOf("crc16-arc")(Buffer.from(text)).toString(16).padStart(4, "0").toUpperCase()}`;
}

describe("DSMR telegrams", () => {
  test("the standard's example: each object has its channel, texts and serial numbers have none", () => {
    expect(values(dsmr.text(dsmr5))).toEqual({
      energyDelivered1: 123456.789,
      energyDelivered2: 123456.789,
      energyReturned1: 123456.789,
      energyReturned2: 123456.789,
      tariff: 2,
      powerDelivered: 1.193,
      powerReturned: 0,
      powerFailures: 4,
      longPowerFailures: 2,
      voltageSagsL1: 2,
      voltageSagsL2: 1,
      voltageSagsL3: 0,
      voltageSwellsL1: 0,
      voltageSwellsL2: 3,
      voltageSwellsL3: 0,
      voltageL1: 220.1,
      voltageL2: 220.2,
      voltageL3: 220.3,
      currentL1: 1,
      currentL2: 2,
      currentL3: 3,
      powerDeliveredL1: 1.111,
      powerDeliveredL2: 2.222,
      powerDeliveredL3: 3.333,
      powerReturnedL1: 4.444,
      powerReturnedL2: 5.555,
      powerReturnedL3: 6.666,
      gasDelivered: 12785.123,
    });
  });

  test("a real meter's checksum holds", () => {
    expect(values(dsmr.text(real))).toMatchObject({ energyDelivered1: 1581.123, gasDelivered: 981.443 });
  });

  test("the telegram's own time is in winter an hour, in summer two hours ahead of UTC", () => {
    const later = Date.UTC(2026, 0, 1);
    const timeOf = (text: string) => timed.bytes(Buffer.from(text), later);
    expect(timeOf(dsmr5)).toMatchObject({ readings: [{ timeMs: Date.UTC(2010, 11, 9, 10, 30, 20) }] });
    const at = (time: string) => telegram(`0-0:1.0.0(${time})`, "1-0:1.7.0(01.193*kW)");
    // The hour that summer time ends with comes twice.
    expect(timeOf(at("251026023000S"))).toMatchObject({
      readings: [{ timeMs: Date.UTC(2025, 9, 26, 0, 30) }],
    });
    expect(timeOf(at("251026023000W"))).toMatchObject({
      readings: [{ timeMs: Date.UTC(2025, 9, 26, 1, 30) }],
    });
    for (const wrong of ["250230120000W", "251301120000W", "250101250000W", "250101120000", "x"])
      expect(timeOf(at(wrong))).toEqual({ discard: "noTime" });
  });

  test("without a checksum a telegram is malformed, unless the source says that it may lack one", () => {
    expect(dsmr.text(dsmr2)).toEqual({ discard: "malformed" });
    expect(values(optional.text(dsmr2))).toEqual({
      energyDelivered1: 1.001,
      tariff: 1,
      powerDelivered: 1.01,
      "0-0:17.0.0": 999,
      gasDelivered: 1.001,
    });
    expect(optional.text(dsmr5.replace("!E47C", "!E47D"))).toEqual({ discard: "badChecksum" });
    expect(optional.text(dsmr5.replace("!E47C", "!E4"))).toEqual({ discard: "malformed" });
  });

  test("Wh and W are told in kWh and kW; a value in a unit of its own keeps its code", () => {
    const text = telegram(
      "1-0:1.8.1(005017120*Wh)",
      "1-0:1.7.0*255(000000286*W)",
      "1-0:3.8.0(000000747*varh)",
      "1-0:2.8.1(1*MJ)",
    );
    expect(values(dsmr.text(text))).toEqual({
      energyDelivered1: 5017.12,
      powerDelivered: 0.286,
      "1-0:3.8.0": 747,
      "1-0:2.8.1": 1,
    });
  });

  test("what hangs on the M-Bus goes by its type, and by its code where the type is another", () => {
    const text = telegram(
      "0-1:24.2.1(250101120000W)(00001.500*m3)",
      "0-1:24.1.0(007)",
      "0-2:24.1.0(012)",
      "0-2:24.2.1(250101120000W)(00002.5*GJ)",
      "0-3:24.1.0(099)",
      "0-3:24.2.1(250101120000W)(00003.5*m3)",
    );
    expect(values(dsmr.text(text))).toEqual({
      waterDelivered: 1.5,
      heatDelivered: 2.5,
      "0-3:24.2.1": 3.5,
    });
  });

  test.each(["", "/", "!", "/!", "x/ABC!0000", "/ABC", "/ABC!12345"])("%j is no reading", (text) => {
    expect(dsmr.text(text)).toEqual({ discard: text === "" ? "empty" : "malformed" });
  });

  test("a telegram of texts and logs only has no channels", () => {
    // The logs of power failures (5.0.2) and of peaks (Belgium, e-MUCS) hold numbers with units, of other times.
    const log = "1-0:99.97.0(240*s)(0-0:96.7.19)(101208152415W)(0000000240*s)";
    const peaks = "0-0:98.1.0(3*kW)(1-0:1.6.0)(1-0:1.6.0)(200501000000S)(200423192538S)(03.695*kW)";
    expect(dsmr.text(telegram("0-0:96.1.1(4B38)", "0-0:96.13.0()", log, peaks))).toEqual({
      discard: "noChannels",
    });
  });

  test("a flipped bit never becomes another value", () => {
    const whole = values(dsmr.text(dsmr5));
    fc.assert(
      fc.property(fc.nat(dsmr5.trimEnd().length * 8 - 1), (bit) => {
        const flipped = Buffer.from(dsmr5.trimEnd());
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const decoded = dsmr.bytes(flipped);
        // Hex digits may be large or small: that one bit changes nothing.
        expect("discard" in decoded || values(decoded)).toEqual("discard" in decoded ? true : whole);
      }),
      { numRuns: 3_000 },
    );
  });

  test("any bytes, and any text in place of the values, give values or a reason", () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.array(fc.string()), (bytes, lines) => {
        for (const frame of [bytes, Buffer.from(telegram(...lines))]) {
          const decoded = optional.bytes(frame);
          if ("discard" in decoded) expect(decoded.discard).toMatch(/^\w+$/);
          else for (const { value } of decoded.readings[0]?.values ?? []) expect(value).toBeTypeOf("number");
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("lines that almost match take no longer for it", () => {
    const long = telegram(`1-0:1.8.1${"(1)".repeat(100_000)}(`, `${"1".repeat(300_000)}`);
    expect(dsmr.text(long)).toEqual({ discard: "noChannels" });
  });
});
