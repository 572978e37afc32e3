import { crc16 } from "../../../src/sources/modbus-framing.ts";
import { Cable } from "./cable.ts";

/** A request as it came over the line. */
export interface Heard {
  readonly unit: number;
  readonly code: number;
  readonly address: number;
  /** Count, or the value of a single write. */
  readonly count: number;
  readonly frame: Buffer;
  readonly atMs: number;
}

/** With its checksum, low byte first. */
export function withChecksum(bytes: readonly number[]): Buffer {
  const checksum = crc16(Uint8Array.from(bytes));
  return Buffer.from([...bytes, checksum & 0xff, checksum >> 8]);
}

/** The right answer to a read of registers, each of which has `value(address)`. */
export function answered({ unit, code, address, count }: Heard, value = (at: number) => at): Buffer {
  const words = Array.from({ length: count }, (_, i) => value(address + i) & 0xffff);
  return withChecksum([unit, code, 2 * count, ...words.flatMap((word) => [word >> 8, word & 0xff])]);
}

export const exception = ({ unit, code }: Heard, reason: number): Buffer =>
  withChecksum([unit, code | 0x80, reason]);

/** Cuts what the gateway sends into requests. */
export function requestsOf(take: (request: Heard) => void): (bytes: Buffer) => void {
  let held = Buffer.alloc(0);
  return (bytes) => {
    held = Buffer.concat([held, bytes]);
    for (;;) {
      const length = held[1] === 0x10 ? 9 + (held[6] ?? 0) : 8;
      if (held.length < length) return;
      const frame = held.subarray(0, length);
      held = held.subarray(length);
      if (crc16(frame) !== 0) throw new Error(`a request with a bad checksum: ${frame.toString("hex")}`);
      take({
        unit: frame.readUInt8(0),
        code: frame.readUInt8(1),
        address: frame.readUInt16BE(2),
        count: frame.readUInt16BE(4),
        frame,
        atMs: performance.now(),
      });
    }
  };
}

/** Units whose answers are written by hand: what `behave` does with the line is what they do. */
export class Units {
  readonly heard: Heard[] = [];
  readonly cable: Cable = new Cable(
    requestsOf((request) => {
      this.heard.push(request);
      this.behave(request, this.cable);
    }),
  );
  behave: (request: Heard, line: Cable) => void = (request, line) => line.write(answered(request));
}
