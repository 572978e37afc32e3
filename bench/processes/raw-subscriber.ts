/**
 * A subscriber that does nothing with what it gets: it finds the ends of packets and answers QoS 1. What it takes is
 * the most that a Node process can be brought by this broker on this machine. Started with `fork`.
 */
import { connect } from "node:net";
import { generate } from "mqtt-packet";

export interface RawProgress {
  readonly received: number;
  /** User and system time since its start. */
  readonly cpuMs: number;
}

let received = 0;
const [, , port, filter = ""] = process.argv;
const socket = connect(Number(port), "127.0.0.1");
socket.setNoDelay(true);
socket.write(generate({ cmd: "connect", clientId: "raw", keepalive: 0, clean: true, protocolVersion: 4 }));
socket.write(generate({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: filter, qos: 1 }] }));
let rest = Buffer.alloc(0);
socket.on("data", (chunk) => {
  const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
  const answers: Buffer[] = [];
  let at = 0;
  for (;;) {
    const end = endOf(bytes, at);
    if (end === undefined || end.at > bytes.length) break;
    // PUBLISH with QoS 1 (MQTT 3.1.1 section 3.3): topic with its length, then the packet identifier.
    const first = bytes[at] ?? 0;
    if (first >> 4 === 3) {
      received++;
      const idAt = end.bodyAt + 2 + bytes.readUInt16BE(end.bodyAt);
      if (first & 2) answers.push(Buffer.from([0x40, 2, bytes[idAt] ?? 0, bytes[idAt + 1] ?? 0]));
    }
    at = end.at;
  }
  rest = bytes.subarray(at);
  if (answers.length > 0) socket.write(Buffer.concat(answers));
});

/** Where the packet's body begins and where it ends; undefined while its length has not come (section 2.2.3). */
function endOf(bytes: Buffer, at: number): { bodyAt: number; at: number } | undefined {
  let length = 0;
  for (let i = 1; i <= 4 && at + i < bytes.length; i++) {
    const byte = bytes[at + i] ?? 0;
    length += (byte & 127) * 128 ** (i - 1);
    if (byte < 128) return { bodyAt: at + i + 1, at: at + i + 1 + length };
  }
  return undefined;
}

process.on("message", () => {
  const { user, system } = process.cpuUsage();
  process.send?.({ received, cpuMs: (user + system) / 1_000 } satisfies RawProgress);
});
process.on("disconnect", () => process.exit(0));
