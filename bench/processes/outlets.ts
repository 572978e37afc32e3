import { symlinkSync } from "node:fs";
import { Agent, request } from "node:http";
import { connect, type Socket } from "node:net";
import { generate } from "mqtt-packet";
import { openPseudoTerminal } from "../../src/simulated-devices/pty.ts";
import { sleep } from "../../test/faults/time.ts";
import { topicOf } from "../reading.ts";
import type { NumberedReading, Wrapped } from "./numbered-readings.ts";

/** How readings leave the devices. */
export interface Outlet {
  wrap(device: number, reading: string): Wrapped;
  /** How many leave together. */
  readonly step: number;
  /** How many more may be sent now. */
  room(): number;
  send(readings: readonly NumberedReading[]): void;
  /** Readings whose receipt is known: answered, or taken by the kernel. */
  acked(): number;
  close(): void;
}

const maxUnanswered = 4_000;
/** Packet identifiers are 16 bits, and 0 is none (MQTT 3.1.1 section 2.3.1). */
const identifiers = 65_535;
/** CONNACK and PUBACK have 4 bytes each (MQTT 3.1.1 sections 3.2 and 3.4). */
const answerBytes = 4;

/** One MQTT connection for all devices. At QoS 0 what was written counts as answered. */
export async function mqttOutlet(port: number, qos: 0 | 1): Promise<Outlet> {
  const socket: Socket = connect(port, "127.0.0.1");
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
  let sent = 0;
  const acked = () => (qos === 1 ? Math.floor(bytes / answerBytes) - 1 : sent);
  return {
    step: 1,
    wrap: (device, reading) => {
      const packet = generate({
        cmd: "publish",
        topic: topicOf(device),
        payload: reading,
        qos,
        ...(qos === 1 ? { messageId: 1 } : {}),
        dup: false,
        retain: false,
      });
      return { bytes: packet, readingAt: packet.length - Buffer.byteLength(reading) };
    },
    room: () => (socket.writableNeedDrain && qos === 0 ? 0 : maxUnanswered - (sent - acked())),
    send: (readings) => {
      for (const { bytes, readingAt } of readings) {
        if (qos === 1) bytes.writeUInt16BE((sent % identifiers) + 1, readingAt - 2);
        sent++;
      }
      const [only, ...more] = readings;
      if (only) socket.write(more.length === 0 ? only.bytes : Buffer.concat(readings.map((r) => r.bytes)));
    },
    acked,
    close: () => socket.end(generate({ cmd: "disconnect" })),
  };
}

const line = (_device: number, reading: string): Wrapped => ({
  bytes: Buffer.from(`${reading}\n`),
  readingAt: 0,
});

/** A pseudo-terminal per device under the paths; resolves when somebody has opened all of them. */
export async function serialOutlet(paths: readonly string[]): Promise<Outlet> {
  const lines = paths.map((path) => {
    const terminal = openPseudoTerminal();
    symlinkSync(terminal.slavePath, path);
    return { terminal, waiting: [] as Buffer[] };
  });
  while (!lines.every(({ terminal }) => terminal.observe().open)) await sleep(20);
  let sent = 0;
  let taken = 0;
  /** A port holds 4 KiB; what it does not take now waits here. */
  const flush = () => {
    for (const { terminal, waiting } of lines) {
      for (let next = waiting[0]; next; next = waiting[0]) {
        const count = terminal.write(next);
        if (count < next.length) {
          waiting[0] = next.subarray(count);
          break;
        }
        waiting.shift();
        taken++;
      }
    }
  };
  return {
    step: 1,
    wrap: line,
    room: () => {
      flush();
      return maxUnanswered - (sent - taken);
    },
    send: (readings) => {
      for (const { device, bytes } of readings) lines[device]?.waiting.push(bytes);
      sent += readings.length;
      flush();
    },
    acked: () => {
      flush();
      return taken;
    },
    // What the listener has not read yet would be gone with the terminal; it goes with this process.
    close: () => undefined,
  };
}

const perPost = 100;
const callers = 32;

/** Callers that post a hundred readings each, and wait for the answer. */
export function httpOutlet(url: string, token: string): Outlet {
  const agent = new Agent({ keepAlive: true, maxSockets: callers });
  let under = 0;
  let acked = 0;
  const post = (body: Buffer) => {
    under++;
    const headers = {
      authorization: `Bearer ${token}`,
      "content-type": "application/x-ndjson",
      "content-length": body.length,
    };
    const call = request(url, { method: "POST", agent, headers }, (response) => {
      if (response.statusCode !== 200) throw new Error(`the gateway answered with ${response.statusCode}`);
      response.resume().on("end", () => {
        under--;
        acked += perPost;
      });
    });
    call.on("error", (error) => {
      throw error;
    });
    call.end(body);
  };
  return {
    step: perPost,
    wrap: line,
    room: () => (callers - under) * perPost,
    send: (readings) => {
      for (let i = 0; i < readings.length; i += perPost)
        post(Buffer.concat(readings.slice(i, i + perPost).map(({ bytes }) => bytes)));
    },
    acked: () => acked,
    close: () => agent.destroy(),
  };
}
