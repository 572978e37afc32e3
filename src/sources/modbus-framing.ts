import { checksumOf } from "../core/checksum.ts";
import type { FrameDiscard } from "../core/reading.ts";
import { beginsWith, exceptionLength, exceptionOf, type ModbusRequest } from "./modbus-pdu.ts";

/** How requests and answers stand on a link. Pure. */
export interface Framing {
  /** `transaction`: 0 to 65,535, another one each time. */
  frame(request: ModbusRequest, transaction: number): Uint8Array;
  /**
   * Looks for the answer in all that came. `before`: bytes ahead of it, which belong to nothing. Undefined: it is not
   * there yet. `broken`: what follows cannot be told apart any more.
   */
  find(
    request: ModbusRequest,
    transaction: number,
    bytes: Uint8Array,
  ): { readonly pdu: Uint8Array; readonly before: number; readonly end: number } | "broken" | undefined;
  /** What came instead of an answer when it is too late. */
  judge(request: ModbusRequest, bytes: Uint8Array): FrameDiscard;
  /** How many bytes from the beginning on nobody waits for; the rest is the beginning of a frame. */
  strays(bytes: Uint8Array): number;
}

/** MODBUS over Serial Line V1.02 section 6.2.2. */
export const crc16 = checksumOf("crc16-modbus");

/** Unit and checksum (MODBUS over Serial Line V1.02 section 2.5.1). */
const aroundRtu = 3;

/** MODBUS over Serial Line V1.02 section 2.5.1. Garbage before an answer is skipped. */
export const rtu: Framing = {
  frame({ unit, pdu }) {
    const frame = new Uint8Array(pdu.length + aroundRtu);
    frame[0] = unit;
    frame.set(pdu, 1);
    const checksum = crc16(frame.subarray(0, -2));
    // The low byte first.
    frame[frame.length - 2] = checksum & 0xff;
    frame[frame.length - 1] = checksum >> 8;
    return frame;
  },

  find(request, _transaction, bytes) {
    for (let at = 0; at + exceptionLength + aroundRtu <= bytes.length; at++) {
      const length = lengthAt(request, bytes, at);
      if (length === undefined) continue;
      const end = at + length + aroundRtu;
      // Over the checksum as well, low byte first, it comes to nothing.
      if (end > bytes.length || crc16(bytes.subarray(at, end)) !== 0) continue;
      return { pdu: bytes.slice(at + 1, at + 1 + length), before: at, end };
    }
    return undefined;
  },

  judge(request, bytes) {
    for (let at = 0; at < bytes.length; at++) {
      const length = lengthAt(request, bytes, at);
      if (length === undefined) continue;
      return at + length + aroundRtu > bytes.length ? "truncated" : "badChecksum";
    }
    return "noAnswer";
  },

  strays: (bytes) => bytes.length,
};

/** Of the answer that seems to begin there, without unit and checksum. */
function lengthAt(request: ModbusRequest, bytes: Uint8Array, at: number): number | undefined {
  if (bytes[at] !== request.unit) return undefined;
  if (beginsWith(bytes, at + 1, request.answer.head)) return request.answer.length;
  return bytes[at + 1] === exceptionOf(request) ? exceptionLength : undefined;
}

/** Transaction, protocol 0, length of what follows, unit (MODBUS Messaging on TCP/IP V1.0b section 3.1.3). */
const headerBytes = 7;
/** A PDU has at most 253 bytes (MODBUS Application Protocol V1.1b3 section 4.1). */
const longestBody = 254;

/** MODBUS Messaging on TCP/IP V1.0b section 3.1.3. Answers of other transactions are skipped. */
export const tcp: Framing = {
  frame({ unit, pdu }, transaction) {
    const frame = new Uint8Array(headerBytes + pdu.length);
    const view = new DataView(frame.buffer);
    view.setUint16(0, transaction);
    view.setUint16(4, 1 + pdu.length);
    view.setUint8(6, unit);
    frame.set(pdu, headerBytes);
    return frame;
  },

  find(request, transaction, bytes) {
    for (let at = 0; ; ) {
      const frame = tcpFrameAt(bytes, at);
      if (frame === undefined || frame === "broken") return frame;
      const pdu = bytes.slice(at + headerBytes, frame.end);
      const isGood = pdu.length === request.answer.length && beginsWith(pdu, 0, request.answer.head);
      const isException = pdu.length === exceptionLength && pdu[0] === exceptionOf(request);
      if (frame.transaction === transaction && frame.unit === request.unit && (isGood || isException))
        return { pdu, before: at, end: frame.end };
      at = frame.end;
    }
  },

  judge(_request, bytes) {
    return tcp.strays(bytes) < bytes.length ? "truncated" : "noAnswer";
  },

  strays(bytes) {
    for (let at = 0; ; ) {
      const frame = tcpFrameAt(bytes, at);
      if (frame === undefined || frame === "broken") return at;
      at = frame.end;
    }
  },
};

function tcpFrameAt(
  bytes: Uint8Array,
  at: number,
): { readonly transaction: number; readonly unit: number; readonly end: number } | "broken" | undefined {
  if (bytes.length - at < headerBytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, headerBytes);
  const length = view.getUint16(4);
  if (view.getUint16(2) !== 0 || length < 2 || length > longestBody) return "broken";
  const end = at + headerBytes - 1 + length;
  if (end > bytes.length) return undefined;
  return { transaction: view.getUint16(0), unit: view.getUint8(6), end };
}
