/** A message of a broker. */
export interface Publish {
  readonly topic: string;
  readonly qos: 0 | 1;
  /** 0 at QoS 0. */
  readonly messageId: number;
  /** Part of what was read: to be copied by whoever keeps it. */
  readonly payload: Uint8Array;
}

/** What the protocol forbids; with `code`, as errors of the system have. */
export class PacketError extends Error {
  override readonly name = "PacketError";
  readonly code = "ERR_MQTT_PACKET";
}

const publishType = 3;
const nothing = Buffer.alloc(0);

/**
 * Takes the messages out of what a broker sends, and leaves all other packets to the library that keeps the connection:
 * of its time for a message, almost all goes into objects that nobody needs. (MQTT 3.1.1; its sections are named below.)
 */
export class PublishSieve {
  readonly #take: (message: Publish) => boolean;
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** Of `#bytes`, before the next packet is whole. */
  #needed = 0;
  #isHeld = false;

  /** `take` returns false when there is no room: then the message is offered again with the next call of `sift`. */
  constructor(take: (message: Publish) => boolean) {
    this.#take = take;
  }

  /** Whether a message waits for room. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** Returns whole packets that are no messages. @throws PacketError */
  sift(bytes: Buffer): Buffer {
    if (bytes.length > 0) this.#pieces.push(bytes);
    this.#bytes += bytes.length;
    this.#isHeld = false;
    if (this.#bytes < this.#needed) return nothing;
    const all = this.#pieces.length === 1 ? (this.#pieces[0] ?? nothing) : Buffer.concat(this.#pieces);
    const others: Buffer[] = [];
    let at = 0;
    for (;;) {
      const { bodyAt, end } = sizeOf(all, at);
      this.#needed = end - at;
      if (end > all.length) break;
      const first = all[at] ?? 0;
      if (first >> 4 !== publishType) others.push(all.subarray(at, end));
      else if (!this.#take(messageOf(first, all, bodyAt, end))) {
        this.#isHeld = true;
        break;
      }
      at = end;
    }
    this.#bytes = all.length - at;
    this.#pieces = this.#bytes > 0 ? [all.subarray(at)] : [];
    return others.length > 0 ? Buffer.concat(others) : nothing;
  }
}

/** Section 2.2. Where the length is not whole yet, the end is one byte behind what is there. @throws PacketError */
function sizeOf(bytes: Buffer, at: number): { readonly bodyAt: number; readonly end: number } {
  let length = 0;
  for (let i = 1; i <= 4; i++) {
    const byte = bytes[at + i];
    if (byte === undefined) return { bodyAt: bytes.length, end: bytes.length + 1 };
    length += (byte & 0x7f) * 128 ** (i - 1);
    if (byte < 0x80) return { bodyAt: at + i + 1, end: at + i + 1 + length };
  }
  throw new PacketError("the broker sends a packet whose length has more than four bytes");
}

/** Section 3.3. @throws PacketError */
function messageOf(first: number, bytes: Buffer, bodyAt: number, end: number): Publish {
  const qos = (first >> 1) & 3;
  // Section 3.8.4: no more than was granted.
  if (qos > 1)
    throw new PacketError(
      `the broker sends a message at QoS ${qos}, for which another program must have subscribed with this clientId: choose another one`,
    );
  const topicAt = bodyAt + 2;
  const topicEnd = topicAt + (end >= topicAt ? bytes.readUInt16BE(bodyAt) : 0);
  const payloadAt = topicEnd + 2 * qos;
  if (payloadAt > end || topicAt > end)
    throw new PacketError("the broker sends a message that ends too early");
  return {
    topic: bytes.toString("utf8", topicAt, topicEnd),
    qos: qos as 0 | 1,
    messageId: qos === 0 ? 0 : bytes.readUInt16BE(topicEnd),
    payload: bytes.subarray(payloadAt, end),
  };
}
