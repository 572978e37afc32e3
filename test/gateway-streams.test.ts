/** The whole daemon with a dust sensor on a serial port, and with sockets that others connect to. */
import { connect } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DaemonAtHub, tellsAll } from "./support/daemon-at-hub.ts";
import { pms5003 } from "./support/packets.ts";
import { SerialDevice } from "./support/serial-device.ts";
import { until } from "./support/until.ts";

let box: DaemonAtHub;
let device: SerialDevice;

beforeEach(async () => {
  box = await DaemonAtHub.prepare();
  device = new SerialDevice();
  device.line.plug();
});
afterEach(async () => {
  await box.remove();
  await device.stop();
});

function send(path: string, bytes: string | Uint8Array): Promise<void> {
  const socket = connect({ path });
  return new Promise((resolve, reject) => {
    socket.once("error", reject).once("close", () => resolve());
    socket.resume().end(bytes);
  });
}

test("packets from a port, lines and CBOR from sockets are at the hub with their units, and the books add up", async () => {
  const lines = join(box.folder, "lines.sock");
  const cbor = join(box.folder, "cbor.sock");
  const sources = {
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
  };
  box.start(sources, { ...tellsAll, channels: { weight: { unit: "kg" } } });
  for (const name of Object.keys(sources)) await box.untilState(name, "open");

  const packet = pms5003.packet.toString("latin1");
  await device.send(packet.slice(20) + packet + packet.replace("\x16", "\x17") + packet);
  await Promise.all([
    ...Array.from({ length: 5 }, (_, i) => send(lines, `scale_${i} 1${i}.5 kg\nno weight\n`)),
    // {"t": 10, "u": 1.5}, stuffed by COBS.
    send(cbor, Buffer.from("09a261740a6175f93e0100", "hex")),
  ]);

  await until("the packets are at the hub", () => box.readingsOf("dust").length === 2);
  expect(box.readingsOf("dust")[0]).toMatchObject({
    pm1: { value: 5, unit: "µg/m³" },
    pm2_5: { value: 13, unit: "µg/m³" },
    pm10: { value: 22 },
    particles0_3: { value: 765 },
  });
  for (let i = 0; i < 5; i++) {
    await until("the weight is at the hub", () => box.readingsOf(`scale_${i}`).length === 1);
    expect(box.readingsOf(`scale_${i}`)[0]).toMatchObject({ weight: { value: 10.5 + i, unit: "kg" } });
  }
  await until("the cells are at the hub", () => box.readingsOf("cells").length === 1);

  const books = (await box.status())?.store.books ?? {};
  expect(books.dust).toMatchObject({ ingested: 2, frameDiscards: { unframed: 1, badChecksum: 1 } });
  expect(books.scale).toMatchObject({ ingested: 5, frameDiscards: { malformed: 5 } });
  expect(books.cells).toMatchObject({ ingested: 1 });
  await box.stop();
});

test("who sends faster than the store takes has to wait, and every reading is in the books", async () => {
  const path = join(box.folder, "flood.sock");
  const flood = {
    type: "socket",
    listen: `unix:${path}`,
    decode: { format: "csv", columns: ["n"] },
    device: "d",
  };
  // A hundredth of what comes, with what a frame takes in the queue besides its bytes.
  const store = { maxQueueBytes: 65_536 };
  box.start({ flood }, { windows: { hour: { sizeMs: 3_600_000 } }, store });
  await box.untilState("flood", "open");
  const count = 100_000;
  await send(path, Array.from({ length: count }, (_, n) => `${n}\n`).join(""));
  await box.untilStatus("all are stored", ({ store }) => store.books.flood?.ingested === count);
  const books = (await box.status())?.store.books.flood;
  expect(books).toMatchObject({ frames: count, decoded: count });
  expect(books?.frameDiscards).toEqual({});
  expect(books?.gaps).toEqual({ counted: 0, unknown: 0 });
  await box.stop();
}, 60_000);
