/** The whole daemon with a dust sensor on a serial port, and with sockets that others connect to. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { RunningDaemon } from "./faults/running-daemon.ts";
import { pms5003 } from "./support/packets.ts";
import { SerialDevice } from "./support/serial-device.ts";
import { until } from "./support/until.ts";

let folder: string;
let hub: EmbeddedHub;
let device: SerialDevice;
let daemon: RunningDaemon;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "headgate-streams-"));
  hub = await startEmbeddedHub();
  device = new SerialDevice();
  device.line.plug();
});
afterEach(async () => {
  await daemon.kill();
  await device.stop();
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Entry {
  readonly kind: string;
  readonly device: string;
  readonly channels: Readonly<Record<string, { readonly value: number; readonly unit?: string }>>;
}
const readingsOf = (name: string) =>
  hub.messages
    .flatMap((message) => JSON.parse(message.body.toString("utf8")) as Entry[])
    .filter((entry) => entry.device === name && entry.kind === "reading");

function send(path: string, bytes: string | Uint8Array): Promise<void> {
  const socket = connect({ path });
  return new Promise((resolve, reject) => {
    socket.once("error", reject).once("close", () => resolve());
    socket.resume().end(bytes);
  });
}

test("packets from a port, lines and CBOR from sockets are at the hub with their units, and the books add up", async () => {
  const lines = join(folder, "lines.sock");
  const cbor = join(folder, "cbor.sock");
  const config = {
    gateway: { name: "box" },
    sources: {
      dust: {
        type: "serial",
        path: device.path,
        framing: pms5003.framing,
        decode: pms5003.decode,
        device: "dust",
      },
      scale: {
        type: "socket",
        listen: `unix:${lines}`,
        decode: { format: "regex", pattern: "(?<id>\\w+) (?<weight>[0-9.]+) kg" },
        device: { field: "id" },
      },
      cells: {
        type: "socket",
        listen: `unix:${cbor}`,
        framing: { kind: "cobs" },
        decode: { format: "cbor" },
        device: "cells",
      },
    },
    channels: { weight: { unit: "kg" } },
    publish: { maxDelayMs: 0, readings: "all" },
    clock: { maxHoldMs: 0 },
    store: { path: join(folder, "store"), maxLossMs: 100 },
    api: { state: "off" },
    hub: { type: "edge" },
  };
  daemon = new RunningDaemon(folder, config, hub.environment("gateway"));
  daemon.start();
  for (const name of Object.keys(config.sources))
    await daemon.untilStatus(`${name} is open`, ({ sources }) => sources[name]?.state === "open");

  const packet = pms5003.packet.toString("latin1");
  await device.send(packet.slice(20) + packet + packet.replace("\x16", "\x17") + packet);
  await Promise.all([
    ...Array.from({ length: 5 }, (_, i) => send(lines, `scale_${i} 1${i}.5 kg\nno weight\n`)),
    // {"t": 10, "u": 1.5}, stuffed by COBS.
    send(cbor, Buffer.from("09a261740a6175f93e0100", "hex")),
  ]);

  await until("the packets are at the hub", () => readingsOf("dust").length === 2);
  const { channels } = readingsOf("dust")[0] ?? { channels: {} };
  expect(channels).toMatchObject({
    pm1: { value: 5, unit: "µg/m³" },
    pm2_5: { value: 13, unit: "µg/m³" },
    pm10: { value: 22 },
    particles0_3: { value: 765 },
  });
  for (let i = 0; i < 5; i++) {
    await until("the weight is at the hub", () => readingsOf(`scale_${i}`).length === 1);
    expect(readingsOf(`scale_${i}`)[0]?.channels).toMatchObject({ weight: { value: 10.5 + i, unit: "kg" } });
  }
  await until("the cells are at the hub", () => readingsOf("cells").length === 1);

  const books = (await daemon.status())?.store.books ?? {};
  expect(books.dust).toMatchObject({ ingested: 2, frameDiscards: { unframed: 1, badChecksum: 1 } });
  expect(books.scale).toMatchObject({ ingested: 5, frameDiscards: { malformed: 5 } });
  expect(books.cells).toMatchObject({ ingested: 1 });
  await daemon.stop();
});

test("who sends faster than the store takes has to wait, and every reading is in the books", async () => {
  const path = join(folder, "flood.sock");
  const config = {
    gateway: { name: "box" },
    sources: {
      flood: {
        type: "socket",
        listen: `unix:${path}`,
        decode: { format: "csv", columns: ["n"] },
        device: "d",
      },
    },
    windows: { hour: { sizeMs: 3_600_000 } },
    clock: { maxHoldMs: 0 },
    // A hundredth of what comes, with what a frame takes in the queue besides its bytes.
    store: { path: join(folder, "store"), maxQueueBytes: 65_536, maxLossMs: 100 },
    api: { state: "off" },
    hub: { type: "edge" },
  };
  daemon = new RunningDaemon(folder, config, hub.environment("gateway"));
  daemon.start();
  await daemon.untilStatus("open", ({ sources }) => sources.flood?.state === "open");
  const count = 100_000;
  await send(path, Array.from({ length: count }, (_, n) => `${n}\n`).join(""));
  await daemon.untilStatus("all are stored", ({ store }) => store.books.flood?.ingested === count);
  const books = (await daemon.status())?.store.books.flood;
  expect(books).toMatchObject({ frames: count, decoded: count, frameDiscards: {} });
  expect(books?.gaps).toMatchObject({});
  await daemon.stop();
}, 60_000);
