/** Everything that cuts bytes into frames, with streams that it takes. */
import type { Framing as StreamFraming } from "../../../src/config/framing-schema.ts";
import { checksumOf } from "../../../src/core/checksum.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { formatLine, isHeader, parseLine } from "../../../src/sources/capture.ts";
import { crc16, type Framing, rtu, tcp } from "../../../src/sources/modbus-framing.ts";
import { readRequest } from "../../../src/sources/modbus-pdu.ts";
import { pms5003, sds011 } from "../../support/packets.ts";
import { cobs, slip, withCrc } from "../../support/wrapped.ts";
import type { Attempt, Fuzzed, Tried } from "./fuzz.ts";
import type { Input, Language } from "./inputs.ts";
import { type Account, type FramerVariant, judgedFramer, pieces } from "./judged-framer.ts";

interface Kind extends Language {
  readonly account: Account;
  readonly variants: readonly Omit<FramerVariant, "account">[];
}

const text = (content: string) => Buffer.from(content, "latin1");
function count(bytes: Uint8Array, ...wanted: number[]): number {
  let found = 0;
  for (const byte of bytes) if (wanted.includes(byte)) found++;
  return found;
}
const exactly = (bytes: number) => ({ least: bytes, most: bytes });
const crc32 = { kind: "crc32-iso-hdlc" };

/** Frames with what they hold escaped, with and without a checksum. */
const wrapped = (kind: "slip" | "cobs", wrap: (bytes: Uint8Array) => Buffer, delimiter: number) => {
  const ends = kind === "slip" ? 2 : 1;
  const good = [text('{"t":21.5}'), Buffer.from("00c0db00dbdcdd0001", "hex"), Buffer.alloc(30, 0xdb)];
  const variant = (more: JsonObject, frames: readonly Buffer[]) => ({
    framing: { kind, ...more },
    good: [...frames.map(wrap), Buffer.concat(frames.map(wrap))],
  });
  /** What wrapping adds; of frames with a checksum that is cut off, the checksum as well. */
  const account =
    (hasChecksum: boolean): Account =>
    (frames, stream) => {
      const around = frames.reduce((sum, frame) => {
        const whole = wrap(hasChecksum ? withCrc(frame) : frame);
        return sum + whole.length - ends - frame.length;
      }, 0);
      const least = around + count(stream, delimiter);
      // A block of 254 bytes may be followed by an empty one.
      const most = kind === "slip" ? 0 : frames.length;
      return { least, most: least + most };
    };
  return {
    words: ["\x00", "\x01", "\x02", "\xc0", "\xdb", "\xdb\xdc", "\xdb\xdd", "\xff"],
    seal: (bytes: Buffer) => wrap(withCrc(bytes)),
    variants: [
      judgedFramer({ ...variant({ maxBytes: 64, first: "keep" }, good), account: account(false) }),
      judgedFramer({
        ...variant({ maxBytes: 600, first: "keep", checksum: crc32 }, good.map(withCrc)),
        account: account(true),
      }),
      judgedFramer({ ...variant({ maxBytes: 64, first: "discard" }, good), account: account(false) }),
    ],
  };
};

/** A new framing is a line here; without it this file does not compile. */
const framers: Readonly<Record<StreamFraming["kind"], () => Omit<Fuzzed, "name">>> = {
  lines: () =>
    judged({
      words: ["\n", "\r\n", "\r", "\n\n", "{", '"', "\x00", "\xff", "x".repeat(70)],
      // Ends, and a CR that may stand before one.
      account: (_, stream) => ({ least: count(stream, 0x0a), most: count(stream, 0x0a, 0x0d) }),
      variants: ["keep", "discard"].map((first) => ({
        framing: { kind: "lines", maxBytes: 64, first },
        good: [text('{"t":21.5}\n'), text("t=1\r\nt=2\r\n\r\nt=3\n"), text(`${"9".repeat(64)}\n`)],
      })),
    }),
  telegrams: () =>
    judged({
      words: ["/", "!", "\n", "\r\n", "/!\n", "/a!1\r\n", "!\r\n", "x".repeat(70)],
      // Ends of telegrams, and empty lines.
      account: (_, stream) => ({ least: 0, most: count(stream, 0x0a, 0x0d) }),
      // Short ones: that real ones are whole is tested elsewhere.
      variants: [
        {
          framing: { kind: "telegrams", maxBytes: 64 },
          good: ["/a\r\n\r\n1-0:1.8.1(1*kWh)\r\n!1B2C\r\n", "/a\r\n!\r\n", "/a\n!\n/b\n!\n"].map(text),
        },
      ],
    }),
  packets: () =>
    judged({
      words: ["\x42", "\x42\x4d", "\x00\x1c", "\x00\x00", "\xff\xff", "\xaa\xc0", "\xab", "\x01\x01\x03"],
      seal: sealPacket,
      account: () => exactly(0),
      variants: [
        { framing: pms5003.framing, good: [pms5003.packet, Buffer.concat([pms5003.packet, pms5003.packet])] },
        { framing: sds011.framing, good: [sds011.packet, Buffer.concat([sds011.packet, sds011.packet])] },
        {
          framing: {
            kind: "packets",
            header: "0101",
            length: { offset: 2, add: 2 },
            trailer: "02",
            maxBytes: 16,
          },
          good: [Buffer.from("0101030402", "hex"), Buffer.from("01010801010101010102", "hex")],
        },
      ],
    }),
  slip: () => wrapped("slip", slip, 0xc0),
  cobs: () => wrapped("cobs", cobs, 0),
};

const judged = ({ words, seal, account, variants }: Kind) => ({
  words,
  seal,
  variants: variants.map((variant) => judgedFramer({ ...variant, account })),
});

/** As a PMS5003 would send so many bytes. */
function sealPacket(bytes: Buffer): Buffer {
  const body = bytes.subarray(0, 26);
  const packet = Buffer.concat([Buffer.from([0x42, 0x4d, 0, body.length + 2]), body]);
  const sum = Buffer.alloc(2);
  sum.writeUInt16BE(checksumOf("sum16")(packet));
  return Buffer.concat([packet, sum]);
}

const request = readRequest(17, { table: "holding", address: 107, count: 3 });
const transaction = 7;
/** MODBUS Application Protocol V1.1b3 section 6.3, and an exception. */
const answers = [Buffer.from("0306022b00000064", "hex"), Buffer.from("8302", "hex")];

function inRtu(pdu: Uint8Array): Buffer {
  const body = Buffer.from([request.unit, ...pdu]);
  const checksum = Buffer.alloc(2);
  checksum.writeUInt16LE(crc16(body));
  return Buffer.concat([body, checksum]);
}
function inTcp(pdu: Uint8Array): Buffer {
  const header = Buffer.from([0, transaction, 0, 0, 0, 0, request.unit]);
  header.writeUInt16BE(1 + pdu.length, 4);
  return Buffer.concat([header, pdu]);
}

/** Answers in all that came, piece by piece; what is before an answer and what is left are all the rest. */
function modbus(framing: Framing, wrap: (pdu: Uint8Array) => Buffer, hasChecksum: boolean): Tried {
  const around = wrap(new Uint8Array()).length;
  const good = [...answers.map(wrap), Buffer.concat(answers.map(wrap))];
  const answersIn = (chunks: readonly Uint8Array[]) => {
    const found: Uint8Array[] = [];
    let [held, problem] = [Buffer.alloc(0), undefined as string | undefined];
    for (const chunk of chunks) {
      held = Buffer.concat([held, chunk]);
      for (;;) {
        const strays = framing.strays(held);
        if (!(strays >= 0 && strays <= held.length)) problem = `calls ${strays} of ${held.length} stray`;
        framing.judge(request, held);
        const one = framing.find(request, transaction, held);
        if (one === undefined || one === "broken") break;
        if (one.end - one.before !== one.pdu.length + around || one.end > held.length || one.before < 0)
          problem = `has an answer from ${one.before} to ${one.end} of ${held.length}`;
        if (!isAnswer(one.pdu)) problem = `has the answer ${Buffer.from(one.pdu).toString("hex")}`;
        found.push(one.pdu);
        held = held.subarray(one.end);
      }
    }
    return { found, problem };
  };
  return {
    good,
    attempt: ({ bytes, flippedOf }, random) => {
      const { found, problem } = answersIn(pieces(bytes, random));
      const sent = flippedOf && hasChecksum && found.length > 0 ? answersIn([flippedOf]).found : undefined;
      const isOther =
        sent && found.some((pdu) => !sent.some((other) => Buffer.from(other).equals(Buffer.from(pdu))));
      return { isTaken: found.length > 0, problem: problem ?? (isOther ? "took a wrong bit" : undefined) };
    },
  };
}
const isAnswer = (pdu: Uint8Array) =>
  (pdu.length === 8 && pdu[0] === 3 && pdu[1] === 6) || (pdu.length === 2 && pdu[0] === 0x83);
/** As long as an answer is, or as it comes. */
const sealAnswer = (wrap: (pdu: Uint8Array) => Buffer) => (bytes: Buffer) =>
  wrap(bytes.length < 6 ? bytes : Buffer.from([3, 6, ...bytes.subarray(0, 6)]));

/** A line of a capture: what is read of it is what would be written. */
const capture: Omit<Fuzzed, "name"> = {
  words: [
    ...["{", "}", '"t":', "1", ",", "-", "1e999", "null", '"text":', '"base64":', '"origin":', '"discard":'],
    ...[
      '"bytes":',
      '"overlong"',
      '"YQ=="',
      '"\\ud800"',
      '"\\u0000"',
      '{"t":1,"text":"',
      '"}',
      '"__proto__":',
    ],
    '{"headgateCapture":1}',
  ],
  variants: [
    {
      good: [
        '{"headgateCapture":1,"by":"1.0.0","source":"s","startedAt":"2025-01-01T00:00:00Z","config":{}}',
        formatLine({ t: 12.345, bytes: text('{"t":21.5}'), origin: "a/b" }),
        formatLine({ t: 0, bytes: Uint8Array.of(0xff, 0) }),
        formatLine({ t: 5, discard: "truncated", bytes: 17 }),
      ].map((line) => Buffer.from(line)),
      attempt: captured,
    },
  ],
};
function captured({ bytes }: Input): Attempt {
  const line = Buffer.from(bytes).toString("utf8");
  const read = parseLine(line);
  if (!read) return { isTaken: isHeader(line), problem: undefined };
  const again = formatLine(read);
  const isSame = formatLine(parseLine(again) ?? { t: -1, bytes: new Uint8Array() }) === again;
  // What is no UTF-8 is a character of three bytes.
  const isMore = "origin" in read && read.bytes.length > 3 * bytes.length;
  const problem = isMore ? "is more than came" : isSame ? undefined : `is not read as written: ${again}`;
  return { isTaken: true, problem };
}

/** With new framers each time: these live as long as they are fuzzed. */
export function fuzzedFramers(): readonly Fuzzed[] {
  return [
    ...Object.entries(framers).map(([name, make]) => ({ name, ...make() })),
    { name: "modbus-rtu", words: [], seal: sealAnswer(inRtu), variants: [modbus(rtu, inRtu, true)] },
    { name: "modbus-tcp", words: [], seal: sealAnswer(inTcp), variants: [modbus(tcp, inTcp, false)] },
    { name: "capture", ...capture },
  ];
}
