/** Bytes of a line or a connection to answers, whatever they come in and whatever is around them. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { crc16, rtu, tcp } from "../../src/sources/modbus-framing.ts";
import { readRequest, writeRequest } from "../../src/sources/modbus-pdu.ts";

const bytes = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
const hex = (all: Uint8Array) => Buffer.from(all).toString("hex");

const holding = readRequest(17, { table: "holding", address: 107, count: 3 });
/** MODBUS Application Protocol V1.1b3 section 6.3, with unit and checksum around it. */
const answer = "11 03 06 022b 0000 0064";
const summed = (text: string) => {
  const checksum = crc16(bytes(text));
  return Uint8Array.of(...bytes(text), checksum & 0xff, checksum >> 8);
};

describe("RTU", () => {
  test("the checksum is that of the specification's example (V1.02 section 6.2.2), low byte first", () => {
    expect(crc16(bytes("02 07"))).toBe(0x1241);
    expect(hex(rtu.frame(readRequest(1, { table: "holding", address: 0, count: 1 }), 0))).toBe(
      "010300000001840a",
    );
  });

  test("an answer is found whatever garbage is before it, and the garbage is counted", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (garbage) => {
        const found = rtu.find(holding, 0, Uint8Array.of(...garbage, ...summed(answer)));
        expect(found).toEqual({
          pdu: bytes("03 06 022b 0000 0064"),
          before: garbage.length,
          end: garbage.length + 11,
        });
      }),
    );
  });

  test("an answer in any pieces is found with its last byte, and no sooner", () => {
    for (const whole of [summed(answer), summed("11 83 02")]) {
      for (let length = 0; length < whole.length; length++)
        expect(rtu.find(holding, 0, whole.subarray(0, length))).toBeUndefined();
      expect(rtu.find(holding, 0, whole)).toBeDefined();
    }
  });

  test("one flipped bit makes it none", () => {
    const whole = summed(answer);
    for (let bit = 0; bit < 8 * whole.length; bit++) {
      const flipped = Uint8Array.from(whole);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(rtu.find(holding, 0, flipped)).toBeUndefined();
    }
  });

  test("of another unit, function or length it is none, with the right checksum too", () => {
    for (const other of ["12 03 06 022b 0000 0064", "11 04 06 022b 0000 0064", "11 03 04 022b 0000"])
      expect(rtu.find(holding, 0, summed(other))).toBeUndefined();
    expect(rtu.judge(holding, summed("12 03 06 022b 0000 0064"))).toBe("noAnswer");
  });

  test("any bytes are no answer, and are judged", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
        expect(rtu.find(holding, 0, noise)).toBeUndefined();
        expect(["noAnswer", "truncated", "badChecksum"]).toContain(rtu.judge(holding, noise));
      }),
      { numRuns: 2_000 },
    );
  });

  test("an exception of the unit is found, of another function not", () => {
    expect(rtu.find(holding, 0, summed("11 83 02"))).toMatchObject({ pdu: bytes("83 02") });
    expect(rtu.find(holding, 0, summed("11 84 02"))).toBeUndefined();
  });

  test("a cut answer and one with a bad checksum are told apart", () => {
    const whole = summed(answer);
    expect(rtu.judge(holding, whole.subarray(0, 10))).toBe("truncated");
    expect(rtu.judge(holding, Uint8Array.of(...whole.subarray(0, 10), 0))).toBe("badChecksum");
    expect(rtu.judge(holding, new Uint8Array())).toBe("noAnswer");
  });
});

describe("TCP", () => {
  const around = (transaction: number, unit: number, pdu: string, protocol = 0) => {
    const header = Buffer.alloc(7);
    header.writeUInt16BE(transaction, 0);
    header.writeUInt16BE(protocol, 2);
    header.writeUInt16BE(1 + bytes(pdu).length, 4);
    header.writeUInt8(unit, 6);
    return Uint8Array.of(...header, ...bytes(pdu));
  };
  const pdu = "03 06 022b 0000 0064";

  test("the request has its transaction, the protocol 0, its length and its unit (V1.0b section 3.1.3)", () => {
    expect(hex(tcp.frame(holding, 0x1501))).toBe("15010000000611" + "03006b0003");
  });

  test("the answer is found behind those of other transactions and units", () => {
    const late = around(6, 17, pdu);
    const other = around(7, 18, pdu);
    const found = tcp.find(holding, 7, Uint8Array.of(...late, ...other, ...around(7, 17, pdu)));
    expect(found).toMatchObject({ pdu: bytes(pdu), before: late.length + other.length });
    expect(tcp.find(holding, 7, Uint8Array.of(...late, ...other))).toBeUndefined();
    expect(tcp.strays(Uint8Array.of(...late, ...other.subarray(0, 5)))).toBe(late.length);
  });

  test("an answer of another function or length is none", () => {
    for (const other of ["04 06 022b 0000 0064", "03 04 022b 0000", "83 02 00"])
      expect(tcp.find(holding, 7, around(7, 17, other))).toBeUndefined();
    expect(tcp.find(holding, 7, around(7, 17, "83 0b"))).toMatchObject({ pdu: bytes("83 0b") });
  });

  test("a garbage prefix never becomes an answer: behind it is the right one, none, or the end of the connection", () => {
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      // Whole frames of others, and one that is cut off.
      fc
        .array(fc.constantFrom(around(6, 17, pdu), around(7, 18, pdu), around(7, 17, "04 06 022b 0000 0064")))
        .map((frames) => Uint8Array.from(frames.flatMap((frame) => [...frame]))),
      fc.nat(14).map((end) => around(6, 17, pdu).subarray(0, end)),
    );
    fc.assert(
      fc.property(garbage, (before) => {
        const all = Uint8Array.of(...before, ...around(7, 17, pdu));
        const found = tcp.find(holding, 7, all);
        if (found === undefined || found === "broken") return;
        expect(found).toEqual({ pdu: bytes(pdu), before: before.length, end: all.length });
      }),
      { numRuns: 2_000 },
    );
  });

  test("what is no Modbus is told at once, and any bytes give an answer, none or that", () => {
    expect(tcp.find(holding, 7, Buffer.from("HTTP/1.1 400 Bad Request\r\n"))).toBe("broken");
    expect(tcp.find(holding, 7, around(7, 17, pdu, 1))).toBe("broken");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (noise) => {
        const found = tcp.find(holding, 7, noise);
        expect(found === undefined || found === "broken").toBe(true);
        expect(tcp.strays(noise)).toBeLessThanOrEqual(noise.length);
      }),
      { numRuns: 2_000 },
    );
  });
});

test("writes are those of sections 6.5, 6.6 and 6.12, and are confirmed by what these say", () => {
  const coil = writeRequest(1, "coil", 172, Uint8Array.of(1));
  expect([hex(coil.pdu), hex(coil.answer.head), coil.answer.length]).toEqual(["0500acff00", "0500acff00", 5]);
  expect(hex(writeRequest(1, "coil", 172, Uint8Array.of(0)).pdu)).toBe("0500ac0000");
  const one = writeRequest(1, "holding", 1, bytes("0003"));
  expect([hex(one.pdu), hex(one.answer.head)]).toEqual(["0600010003", "0600010003"]);
  const two = writeRequest(1, "holding", 1, bytes("000a 0102"));
  expect([hex(two.pdu), hex(two.answer.head), two.answer.length]).toEqual([
    "100001000204000a0102",
    "1000010002",
    5,
  ]);
});
