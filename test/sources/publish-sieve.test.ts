import { expect, test } from "vitest";
import { pingresp, publish, suback } from "../../src/embedded-hub/mqtt-codec.ts";
import { type Publish, PublishSieve } from "../../src/sources/publish-sieve.ts";
import { randomFrom } from "../support/random.ts";

/** Copies what it takes, as whoever keeps it has to. */
class Taken {
  room = Number.POSITIVE_INFINITY;
  readonly all: { topic: string; qos: number; messageId: number; payload: string }[] = [];
  readonly sieve = new PublishSieve((message) => this.#take(message));

  #take({ payload, ...message }: Publish): boolean {
    if (this.all.length >= this.room) return false;
    this.all.push({ ...message, payload: Buffer.from(payload).toString() });
    return true;
  }
}

const message = (i: number, payload = `payload ${i}`) => ({
  topic: `plant/é${i}`,
  qos: (i % 2) as 0 | 1,
  messageId: i % 2 === 1 ? i : 0,
  payload,
});
const packetOf = ({ messageId, payload, ...rest }: ReturnType<typeof message>) =>
  publish({ ...rest, payload: Buffer.from(payload), packetId: messageId });

test("messages are taken out and other packets left, however the bytes are cut", () => {
  const random = randomFrom(7);
  for (let round = 0; round < 200; round++) {
    const messages: ReturnType<typeof message>[] = [];
    const others: Buffer[] = [];
    const stream: Buffer[] = [];
    for (let i = 1; i <= 30; i++) {
      const kind = Math.floor(random() * 4);
      const sizes = [0, 1, 100, 127, 128, 16_383, 20_000];
      if (kind < 2) messages.push(message(i, "x".repeat(sizes[Math.floor(random() * sizes.length)] ?? 0)));
      const last = messages.at(-1);
      const packet = kind < 2 && last ? packetOf(last) : kind === 2 ? pingresp : suback(i, [1]);
      if (kind >= 2) others.push(packet);
      stream.push(packet);
    }
    const bytes = Buffer.concat(stream);
    const taken = new Taken();
    const passed: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      const end = at + 1 + Math.floor(random() ** 3 * 5_000);
      passed.push(taken.sieve.sift(bytes.subarray(at, end)));
      at = end;
    }
    expect(taken.all).toEqual(messages);
    expect(Buffer.concat(passed).equals(Buffer.concat(others))).toBe(true);
  }
});

test("a message without room is offered again, and what stands behind it waits", () => {
  const taken = new Taken();
  taken.room = 1;
  const [one, two, three] = [message(1), message(2), message(3)];
  const bytes = [packetOf(one), packetOf(two), pingresp];
  expect(taken.sieve.sift(Buffer.concat(bytes))).toHaveLength(0);
  expect(taken.sieve.isHeld).toBe(true);
  expect(taken.sieve.sift(packetOf(three))).toHaveLength(0);
  expect(taken.all).toEqual([one]);
  taken.room = 10;
  expect(taken.sieve.sift(Buffer.alloc(0)).equals(pingresp)).toBe(true);
  expect(taken.sieve.isHeld).toBe(false);
  expect(taken.all).toEqual([one, two, three]);
});

test("a large message in many pieces is put together once", () => {
  const taken = new Taken();
  const large = message(1, "y".repeat(8_000_000));
  const bytes = packetOf(large);
  for (let at = 0; at < bytes.length; at += 4_096) taken.sieve.sift(bytes.subarray(at, at + 4_096));
  expect(taken.all).toEqual([large]);
});

test.each([
  ["a length of five bytes", "30ffffffff01", "more than four bytes"],
  ["no room for the length of a topic", "300100", "ends too early"],
  ["a topic that ends behind the packet", "30040005aabb", "ends too early"],
  ["no identifier at QoS 1", "32030001aa", "ends too early"],
  ["QoS 2", "34050001aa0001", "QoS 2, for which another program must have subscribed"],
])("%s is an error", (_what, hex, reason) => {
  const { sieve } = new Taken();
  expect(() => sieve.sift(Buffer.from(hex, "hex"))).toThrow(reason);
});
