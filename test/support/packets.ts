import type { JsonObject } from "../../src/core/json.ts";

interface Device {
  readonly framing: JsonObject;
  readonly decode: JsonObject;
  /** A packet as the device sends it. */
  readonly packet: Buffer;
  readonly values: Readonly<Record<string, number>>;
}

const le = (offset: number) => ({ offset, type: "uint16", endianness: "little", scale: 0.1, unit: "µg/m³" });
const be = (offset: number, unit?: string) => ({ offset, type: "uint16", ...(unit ? { unit } : {}) });

/**
 * Plantower PMS5003, dust sensor (PMS5003 series data manual 2.5, appendix I): 32 bytes, two fixed, their number less
 * four, thirteen words, their sum. The packet is one that a sensor sent.
 */
export const pms5003: Device = {
  framing: {
    kind: "packets",
    header: "424d",
    length: { offset: 2, type: "uint16", add: 4 },
    checksum: { kind: "sum16" },
    maxBytes: 32,
  },
  decode: {
    format: "binary",
    fields: {
      pm1: be(10, "µg/m³"),
      pm2_5: be(12, "µg/m³"),
      pm10: be(14, "µg/m³"),
      particles0_3: be(16),
    },
  },
  packet: Buffer.from("424d001c0005000d00160005000d001602fd00fc001d000f00060006970003c5", "hex"),
  values: { pm1: 5, pm2_5: 13, pm10: 22, particles0_3: 765 },
};

/** Nova SDS011, dust sensor: the packet of its control protocol 1.3, "query data command". */
export const sds011: Device = {
  framing: {
    kind: "packets",
    header: "aac0",
    length: 10,
    checksum: { kind: "sum8", from: 2 },
    trailer: "ab",
  },
  decode: { format: "binary", fields: { pm2_5: le(2), pm10: le(4) } },
  packet: Buffer.from("aac0d4043a0aa1601dab", "hex"),
  values: { pm2_5: 123.6, pm10: 261.8 },
};
