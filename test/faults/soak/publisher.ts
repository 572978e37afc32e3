/**
 * Ten devices on ten topics, in a process of their own: numbered readings at QoS 1 at a constant rate, with a bound
 * for what the broker has not answered. Started with `fork`; tells its progress and ends when it is told to stop.
 */
import { connect } from "node:net";
import { generate, type Packet, parser } from "mqtt-packet";
import { monotonicMs, sleep } from "../time.ts";

export interface PublisherOrder {
  readonly port: number;
  /** Readings per second, of all devices together. */
  readonly rate: number;
  readonly devices: number;
}

export interface PublisherProgress {
  /** Readings handed to the broker, and those it answered (PUBACK). */
  readonly sent: number;
  readonly acked: number;
  /** Readings that were due and not sent, because too many were unanswered. */
  readonly skipped: number;
}

/** Packet identifiers are 16 bits, and 0 is none (MQTT 3.1.1 section 2.3.1). */
const identifiers = 65_535;
const maxUnanswered = 2_000;
const turnMs = 5;
/** What is due longer than this is skipped: the rate is never made up for by a burst. */
const longestDebtMs = 500;

/** Values that move, with as many digits as sensors give. */
function payload(device: number, seq: number): string {
  const wave = Math.sin(seq / 500 + device);
  return JSON.stringify({
    seq,
    temperature: round(21 + 3 * wave),
    humidity: round(45 + 10 * wave),
    pressure: round(1013 + 2 * wave),
    co2: 420 + (seq % 300),
    voltage: round(3.3 + 0.1 * wave),
    current: round(0.5 + (seq % 7) / 100),
  });
}

const round = (value: number): number => Math.round(value * 100) / 100;

async function publish({ port, rate, devices }: PublisherOrder, isStopped: () => boolean): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  const progress = { sent: 0, acked: 0, skipped: 0 };
  const tell = () => process.send?.({ ...progress } satisfies PublisherProgress);
  let accepted: () => void = () => undefined;
  const connected = new Promise<void>((resolve) => {
    accepted = resolve;
  });
  const packets = parser({ protocolVersion: 4 });
  packets.on("packet", (packet: Packet) => {
    if (packet.cmd === "connack") accepted();
    if (packet.cmd === "puback") progress.acked++;
  });
  socket.on("data", (bytes) => packets.parse(bytes));
  // A connection that breaks would leave readings of which nobody knows whether the broker has them.
  socket.on("error", (error) => {
    throw error;
  });
  socket.write(
    generate({ cmd: "connect", clientId: "devices", keepalive: 0, clean: true, protocolVersion: 4 }),
  );
  await connected;
  const telling = setInterval(tell, 500);
  const topics = Array.from({ length: devices }, (_, i) => `plant/device-${i}/readings`);
  const startMs = monotonicMs();
  while (!isStopped()) {
    const due = Math.floor(((monotonicMs() - startMs) * rate) / 1_000);
    const debt = due - progress.sent - progress.skipped;
    progress.skipped += Math.max(0, debt - Math.ceil((longestDebtMs * rate) / 1_000));
    const room = maxUnanswered - (progress.sent - progress.acked);
    const count = Math.min(due - progress.sent - progress.skipped, room);
    const turn: Buffer[] = [];
    for (let i = 0; i < count; i++) {
      const device = progress.sent % devices;
      const seq = Math.floor(progress.sent / devices) + 1;
      const messageId = (progress.sent % identifiers) + 1;
      const topic = topics[device] ?? "";
      turn.push(
        generate({
          cmd: "publish",
          topic,
          payload: payload(device, seq),
          qos: 1,
          messageId,
          dup: false,
          retain: false,
        }),
      );
      progress.sent++;
    }
    if (turn.length > 0) socket.write(Buffer.concat(turn));
    await sleep(turnMs);
  }
  for (const end = monotonicMs() + 60_000; progress.acked < progress.sent && monotonicMs() < end; )
    await sleep(20);
  clearInterval(telling);
  socket.end(generate({ cmd: "disconnect" }));
  await new Promise<void>((resolve) => {
    process.send?.({ ...progress } satisfies PublisherProgress, () => resolve());
  });
}

let isStopped = false;
process.on("message", async (message: PublisherOrder | "stop") => {
  if (message === "stop") {
    isStopped = true;
    return;
  }
  await publish(message, () => isStopped);
  process.disconnect();
});
// Nobody is left to tell.
process.on("disconnect", () => process.exit(0));
