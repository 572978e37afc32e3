/**
 * Devices that publish numbered readings at QoS 1 at a constant rate, in a process of their own. Started with `fork`.
 * Its packets are made beforehand and only their numbers are written over, because it shares the machine with what is
 * measured.
 */
import { connect, type Socket } from "node:net";
import { generate } from "mqtt-packet";
import { monotonicMs, sleep } from "../../test/faults/time.ts";
import { firstSeq, noisyDigits, readingText, topicOf } from "../reading.ts";

export interface GeneratorOrder {
  readonly port: number;
  /** Readings per second, of all devices together; 0 sends as fast as the broker answers. */
  readonly rate: number;
  readonly devices: number;
  readonly qos: 0 | 1;
}

export interface GeneratorProgress {
  /** CLOCK_MONOTONIC ms of the first reading. */
  readonly startMs: number;
  readonly atMs: number;
  readonly sent: number;
  /** Answered by the broker (PUBACK); at QoS 0 what was sent. */
  readonly acked: number;
  /** Due and not sent, because too many were unanswered, or this process got no time. */
  readonly skipped: number;
}

/** Packet identifiers are 16 bits, and 0 is none (MQTT 3.1.1 section 2.3.1). */
const identifiers = 65_535;
const maxUnanswered = 4_000;
const turnMs = 5;
/** What is due longer than this is skipped: the rate is never made up for by a long burst. */
const longestDebtMs = 500;
/** Of the values, per device, as far as this many packets go around. */
const variants = 64;
const maxTemplates = 10_000;
/** CONNACK and PUBACK have 4 bytes each (MQTT 3.1.1 sections 3.2 and 3.4). */
const answerBytes = 4;

interface Template {
  readonly packet: Buffer;
  readonly idAt: number;
  readonly seqAt: number;
  readonly noiseAt: readonly number[];
}

function templates(device: number, count: number, qos: 0 | 1): Template[] {
  const topic = topicOf(device);
  return Array.from({ length: count }, (_, variant) => {
    const payload = readingText(device, variant, firstSeq);
    const packet = generate({
      cmd: "publish",
      topic,
      payload,
      qos,
      ...(qos === 1 ? { messageId: 1 } : {}),
      dup: false,
      retain: false,
    });
    const payloadAt = packet.length - Buffer.byteLength(payload);
    return {
      packet,
      idAt: payloadAt - 2,
      seqAt: payloadAt + payload.indexOf(String(firstSeq)),
      noiseAt: noisyDigits(payload).map((at) => payloadAt + at),
    };
  });
}

async function connected(port: number): Promise<{ socket: Socket; answers: () => number }> {
  const socket = connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  // A connection that breaks would leave readings of which nobody knows whether the broker has them.
  socket.on("error", (error) => {
    throw error;
  });
  let bytes = 0;
  const first = new Promise<void>((resolve) => {
    socket.on("data", (chunk) => {
      bytes += chunk.length;
      resolve();
    });
  });
  socket.write(
    generate({ cmd: "connect", clientId: "devices", keepalive: 0, clean: true, protocolVersion: 4 }),
  );
  await first;
  return { socket, answers: () => Math.floor(bytes / answerBytes) - 1 };
}

async function publish(order: GeneratorOrder, isStopped: () => boolean): Promise<void> {
  const { port, rate, devices, qos } = order;
  const each = Math.max(1, Math.floor(maxTemplates / devices));
  const made = Array.from({ length: devices }, (_, device) =>
    templates(device, Math.min(variants, each), qos),
  );
  const templateOf = (device: number, seq: number): Template => {
    const own = made[device] as Template[];
    return own[seq % own.length] as Template;
  };
  const { socket, answers } = await connected(port);
  const startMs = monotonicMs();
  let sent = 0;
  let skipped = 0;
  const acked = () => (qos === 1 ? answers() : sent);
  tell = () =>
    process.send?.({
      startMs,
      atMs: monotonicMs(),
      sent,
      acked: acked(),
      skipped,
    } satisfies GeneratorProgress);
  if (isAsked) tell();
  while (!isStopped()) {
    const room = maxUnanswered - (sent - acked());
    let count = room;
    if (rate > 0) {
      const due = Math.floor(((monotonicMs() - startMs) * rate) / 1_000);
      skipped += Math.max(0, due - sent - skipped - Math.ceil((longestDebtMs * rate) / 1_000));
      count = Math.min(due - sent - skipped, room);
    }
    if (socket.writableNeedDrain && qos === 0) {
      await new Promise<void>((resolve) => socket.once("drain", () => resolve()));
      continue;
    }
    const turn: Buffer[] = [];
    for (let i = 0; i < count; i++) {
      const seq = Math.floor(sent / devices);
      const { packet, idAt, seqAt, noiseAt } = templateOf(sent % devices, seq);
      const copy = Buffer.from(packet);
      if (qos === 1) copy.writeUInt16BE((sent % identifiers) + 1, idAt);
      writeDigits(copy, firstSeq + seq, seqAt);
      for (const at of noiseAt) copy[at] = nextDigit();
      turn.push(copy);
      sent++;
    }
    if (turn.length > 0) socket.write(turn.length === 1 ? (turn[0] as Buffer) : Buffer.concat(turn));
    await sleep(rate > 0 ? turnMs : 1);
  }
  for (const end = monotonicMs() + 30_000; acked() < sent && monotonicMs() < end; ) await sleep(20);
  tell();
  socket.end(generate({ cmd: "disconnect" }));
}

/** Nine digits. */
function writeDigits(buffer: Buffer, value: number, at: number): void {
  for (let i = at + 8; i >= at; i--) {
    buffer[i] = 48 + (value % 10);
    value = Math.floor(value / 10);
  }
}

let noise = 1;

/** A digit's character, by xorshift (Marsaglia, J. Stat. Soft. 8 (14), 2003): a store must not profit from repeats. */
function nextDigit(): number {
  noise ^= noise << 13;
  noise ^= noise >>> 17;
  noise ^= noise << 5;
  return 48 + ((noise >>> 8) % 10);
}

let isStopped = false;
/** Asked before there was anything to tell: a busy machine is slow to start a process. */
let isAsked = false;
let tell = (): void => {
  isAsked = true;
};
process.on("message", async (message: GeneratorOrder | "tell" | "stop") => {
  if (message === "tell") tell();
  else if (message === "stop") isStopped = true;
  else {
    await publish(message, () => isStopped);
    process.disconnect();
  }
});
// Nobody is left to tell.
process.on("disconnect", () => process.exit(0));
