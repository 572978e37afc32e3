/**
 * MQTT 3.1.1 packets as a server reads and writes them (OASIS MQTT 3.1.1, 29 October 2014; section numbers
 * below are of that document).
 *
 * Written out here and not taken from a package: the clients under test decode with the common package, and
 * a judge must not share its decoder with those it judges. It also lets the broker acknowledge late, twice or
 * never, and refuse an oversized packet from its header, before its body is read.
 */

/** A packet that the protocol forbids, or one larger than allowed. The connection has to be closed. */
export class MqttProtocolError extends Error {
  override readonly name = "MqttProtocolError";
  readonly code: "malformed" | "tooLarge";
  constructor(code: "malformed" | "tooLarge", message: string) {
    super(message);
    this.code = code;
  }
}

export interface Will {
  readonly topic: string;
  readonly payload: Buffer;
}

export interface ConnectPacket {
  readonly type: "connect";
  readonly protocolName: string;
  readonly protocolLevel: number;
  readonly clean: boolean;
  readonly keepAliveSeconds: number;
  readonly clientId: string;
  readonly will: Will | undefined;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

export interface PublishPacket {
  readonly type: "publish";
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1 | 2;
  readonly dup: boolean;
  readonly retain: boolean;
  /** 0 at QoS 0. */
  readonly packetId: number;
}

export interface Filter {
  readonly filter: string;
  readonly qos: 0 | 1 | 2;
}

export type ClientPacket =
  | ConnectPacket
  | PublishPacket
  | { readonly type: "puback" | "pubrec" | "pubrel" | "pubcomp"; readonly packetId: number }
  | { readonly type: "subscribe"; readonly packetId: number; readonly filters: readonly Filter[] }
  | { readonly type: "unsubscribe"; readonly packetId: number; readonly filters: readonly string[] }
  | { readonly type: "pingreq" }
  | { readonly type: "disconnect" };

// ---------------------------------------------------------------- reading

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** A cursor over one packet's body; every read past the end is a malformed packet. */
class Body {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  take(count: number): Buffer {
    if (count > this.left) throw new MqttProtocolError("malformed", "a field ends after its packet");
    const part = this.#bytes.subarray(this.#at, this.#at + count);
    this.#at += count;
    return part;
  }

  byte(): number {
    return this.take(1).readUInt8();
  }

  uint16(): number {
    return this.take(2).readUInt16BE();
  }

  binary(): Buffer {
    return this.take(this.uint16());
  }

  text(): string {
    const bytes = this.binary();
    let text: string;
    try {
      text = utf8.decode(bytes);
    } catch (cause) {
      throw new MqttProtocolError("malformed", `text that is not UTF-8 (1.5.3): ${String(cause)}`);
    }
    if (text.includes("\0")) throw new MqttProtocolError("malformed", "text with U+0000 (1.5.3-2)");
    return text;
  }

  packetId(): number {
    const id = this.uint16();
    if (id === 0) throw new MqttProtocolError("malformed", "packet identifier 0 (2.3.1-1)");
    return id;
  }

  rest(): Buffer {
    return this.take(this.left);
  }

  end(): void {
    if (this.left > 0) throw new MqttProtocolError("malformed", `${this.left} bytes after the last field`);
  }
}

function readConnect(body: Body): ConnectPacket {
  const protocolName = body.text();
  const protocolLevel = body.byte();
  const unread = { clean: true, keepAliveSeconds: 0, clientId: "", will: undefined };
  if (protocolName !== "MQTT" || protocolLevel !== 4) {
    // What follows has another form; all such a client can be told is that its version is refused (3.1.2-2).
    return {
      type: "connect",
      protocolName,
      protocolLevel,
      ...unread,
      username: undefined,
      password: undefined,
    };
  }
  const flags = body.byte();
  if ((flags & 0x01) !== 0) throw new MqttProtocolError("malformed", "reserved CONNECT flag set (3.1.2-3)");
  const keepAliveSeconds = body.uint16();
  const clientId = body.text();
  const hasWill = (flags & 0x04) !== 0;
  const will = hasWill ? { topic: body.text(), payload: Buffer.from(body.binary()) } : undefined;
  const username = (flags & 0x80) !== 0 ? body.text() : undefined;
  const password = (flags & 0x40) !== 0 ? body.binary().toString("utf8") : undefined;
  body.end();
  const clean = (flags & 0x02) !== 0;
  return {
    type: "connect",
    protocolName,
    protocolLevel,
    clean,
    keepAliveSeconds,
    clientId,
    will,
    username,
    password,
  };
}

function readPublish(flags: number, body: Body): PublishPacket {
  const qos = (flags >> 1) & 0x03;
  if (qos === 3) throw new MqttProtocolError("malformed", "QoS 3 (3.3.1-4)");
  const topic = body.text();
  if (topic.length === 0 || /[+#]/.test(topic)) {
    throw new MqttProtocolError("malformed", "an empty topic or one with wildcards (3.3.2-2)");
  }
  const packetId = qos === 0 ? 0 : body.packetId();
  // Copied, because the read buffer is larger than the message and would be kept alive by it.
  const payload = Buffer.from(body.rest());
  return {
    type: "publish",
    topic,
    payload,
    qos: qos as 0 | 1 | 2,
    dup: (flags & 0x08) !== 0,
    retain: (flags & 0x01) !== 0,
    packetId,
  };
}

function readSubscribe(body: Body): ClientPacket {
  const packetId = body.packetId();
  const filters: Filter[] = [];
  while (body.left > 0) {
    const filter = body.text();
    const qos = body.byte();
    if (qos > 2 || filter.length === 0) throw new MqttProtocolError("malformed", "bad filter (3.8.3)");
    filters.push({ filter, qos: qos as 0 | 1 | 2 });
  }
  if (filters.length === 0) throw new MqttProtocolError("malformed", "SUBSCRIBE without a filter (3.8.3-3)");
  return { type: "subscribe", packetId, filters };
}

function readUnsubscribe(body: Body): ClientPacket {
  const packetId = body.packetId();
  const filters: string[] = [];
  while (body.left > 0) filters.push(body.text());
  if (filters.length === 0)
    throw new MqttProtocolError("malformed", "UNSUBSCRIBE without a filter (3.10.3-2)");
  return { type: "unsubscribe", packetId, filters };
}

function readPacketIdOnly(type: "puback" | "pubrec" | "pubrel" | "pubcomp", body: Body): ClientPacket {
  const packetId = body.packetId();
  body.end();
  return { type, packetId };
}

/** Looked at as soon as it is there: what does not speak MQTT is told apart by its first byte. */
function checkFirstByte(first: number): void {
  const kind = first >> 4;
  const flags = first & 0x0f;
  const expectedFlags = kind === 3 ? flags : kind === 6 || kind === 8 || kind === 10 ? 0x02 : 0x00;
  if (flags !== expectedFlags) throw new MqttProtocolError("malformed", "reserved header flags (2.2.2-2)");
}

function readPacket(first: number, bytes: Buffer): ClientPacket {
  const kind = first >> 4;
  const flags = first & 0x0f;
  const body = new Body(bytes);
  switch (kind) {
    case 1:
      return readConnect(body);
    case 3:
      return readPublish(flags, body);
    case 4:
      return readPacketIdOnly("puback", body);
    case 5:
      return readPacketIdOnly("pubrec", body);
    case 6:
      return readPacketIdOnly("pubrel", body);
    case 7:
      return readPacketIdOnly("pubcomp", body);
    case 8:
      return readSubscribe(body);
    case 10:
      return readUnsubscribe(body);
    case 12:
      body.end();
      return { type: "pingreq" };
    case 14:
      body.end();
      return { type: "disconnect" };
    default:
      throw new MqttProtocolError("malformed", `packet type ${kind} from a client`);
  }
}

/** Cuts a byte stream into packets. Any split of the same bytes gives the same packets. */
export class PacketReader {
  readonly #maxRemainingLength: number;
  #held: Buffer = Buffer.alloc(0);

  /** `maxRemainingLength` counts what follows the fixed header: topic, identifier and payload. */
  constructor(maxRemainingLength: number) {
    this.#maxRemainingLength = maxRemainingLength;
  }

  /** Yields each packet completed by `chunk`. @throws MqttProtocolError, after which the reader is spent. */
  *read(chunk: Buffer): Generator<ClientPacket> {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    for (;;) {
      const header = this.#header();
      if (header === undefined) return;
      const end = header.length + header.remaining;
      if (this.#held.length < end) return;
      const bytes = this.#held.subarray(header.length, end);
      this.#held = this.#held.subarray(end);
      yield readPacket(header.first, bytes);
    }
  }

  #header(): { first: number; length: number; remaining: number } | undefined {
    const first = this.#held[0];
    if (first === undefined) return undefined;
    checkFirstByte(first);
    let remaining = 0;
    for (let index = 1; index <= 4; index++) {
      const byte = this.#held[index];
      if (byte === undefined) return undefined;
      remaining += (byte & 0x7f) * 128 ** (index - 1);
      if ((byte & 0x80) === 0) {
        if (remaining > this.#maxRemainingLength) {
          throw new MqttProtocolError(
            "tooLarge",
            `${remaining} bytes, ${this.#maxRemainingLength} are allowed`,
          );
        }
        return { first, length: index + 1, remaining };
      }
    }
    throw new MqttProtocolError("malformed", "remaining length of more than four bytes (2.2.3)");
  }
}

// ---------------------------------------------------------------- writing

function packet(first: number, ...parts: readonly Buffer[]): Buffer {
  let remaining = 0;
  for (const part of parts) remaining += part.length;
  const header = [first];
  let left = remaining;
  do {
    const more = left >= 128 ? 0x80 : 0;
    header.push((left % 128) | more);
    left = Math.floor(left / 128);
  } while (left > 0);
  return Buffer.concat([Buffer.from(header), ...parts]);
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

export function connack(returnCode: 0 | 1 | 2 | 3 | 4 | 5, sessionPresent: boolean): Buffer {
  return packet(0x20, Buffer.from([returnCode === 0 && sessionPresent ? 1 : 0, returnCode]));
}

export function puback(packetId: number): Buffer {
  return packet(0x40, uint16(packetId));
}

export function suback(packetId: number, granted: readonly (0 | 1 | 2 | 0x80)[]): Buffer {
  return packet(0x90, uint16(packetId), Buffer.from(granted));
}

export function unsuback(packetId: number): Buffer {
  return packet(0xb0, uint16(packetId));
}

export const pingresp: Buffer = Buffer.from([0xd0, 0x00]);

export interface OutgoingPublish {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1;
  readonly dup?: boolean;
  /** Needed at QoS 1. */
  readonly packetId?: number;
}

export function publish(message: OutgoingPublish): Buffer {
  const topic = Buffer.from(message.topic, "utf8");
  const first = 0x30 | (message.qos << 1) | (message.dup === true ? 0x08 : 0);
  const id = message.qos === 0 ? Buffer.alloc(0) : uint16(message.packetId ?? 0);
  return packet(first, uint16(topic.length), topic, id, message.payload);
}
