/** The serial source with the real serialport package on a pseudo-terminal. */
import { getEventListeners } from "node:events";
import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Clock, systemClock } from "../../src/core/clock.ts";
import type { FrameDiscard } from "../../src/core/reading.ts";
import { type SerialPortConfig, SerialSource } from "../../src/sources/serial-source.ts";
import type { SourceSink, SourceStatus } from "../../src/sources/source.ts";
import { pms5003 } from "../support/packets.ts";
import { SerialDevice } from "../support/serial-device.ts";
import { until } from "../support/until.ts";
import { framingOf } from "./framed.ts";

let path: string;
let device: SerialDevice;
let source: SerialSource;
let frames: string[];
let discards: [FrameDiscard, number][];
let statuses: SourceStatus[];
const made: SerialSource[] = [];

const lines = (first: "discard" | "keep") => ({ kind: "lines", maxBytes: 64, first }) as const;

/** A source on the device's path; what all of them tell comes together. */
function sourceOf(more: Partial<SerialPortConfig> = {}, clock: Clock = systemClock): SerialSource {
  const config: SerialPortConfig = {
    path,
    baudRate: 115_200,
    dataBits: 8,
    stopBits: 1,
    parity: "none",
    flowControl: "none",
    framing: lines("keep"),
    ...more,
  };
  const sink: SourceSink = {
    frame: (bytes) => {
      frames.push(Buffer.from(bytes).toString("latin1"));
      return true;
    },
    discard: (reason, bytes) => discards.push([reason, bytes]),
    status: (status) => statuses.push(status),
  };
  const one = new SerialSource(config, sink, clock);
  made.push(one);
  return one;
}

beforeEach(() => {
  device = new SerialDevice();
  ({ path } = device);
  frames = [];
  discards = [];
  statuses = [];
  source = sourceOf();
});

afterEach(async () => {
  await Promise.all(made.splice(0).map((one) => one.stop()));
  await device.stop();
});

const send = (text: string) => device.send(text);
const state = () => statuses.at(-1)?.state;

test("lines arrive whole, whatever the chunks", async () => {
  device.line.plug();
  source.start();
  await until("open", () => state() === "open");
  await send('{"a":1}\n{"a"');
  await send(":2}\r");
  await send("\n\n\x00\xff\n");
  await until("three frames", () => frames.length === 3);
  expect(frames).toEqual(['{"a":1}', '{"a":2}', "\x00\xff"]);
  expect(discards).toEqual([]);
});

test("an absent port is a state, and the port is read as soon as it is there", async () => {
  source.start();
  await until("absent", () => state() === "absent");
  expect(statuses.at(-1)?.reason).toContain(path);
  device.line.plug();
  await until("open", () => state() === "open");
  await send("x\n");
  await until("the frame", () => frames.length === 1);
});

test("an unplug in the middle of a line discards its beginning, and after the return lines arrive again", async () => {
  device.line.plug();
  source.start();
  await until("open", () => state() === "open");
  await send("whole\nhalf");
  await until("the frame", () => frames.length === 1);
  await device.line.unplug();
  await until("absent", () => state() === "absent");
  expect(discards).toEqual([["truncated", 4]]);
  device.line.plug();
  await until("open again", () => state() === "open");
  await send("back\n");
  await until("the frame", () => frames.length === 2);
  expect(frames).toEqual(["whole", "back"]);
  // While it is absent the reason may change, which is told as well.
  const states = statuses.map((status) => status.state).filter((state, i, all) => state !== all[i - 1]);
  expect(states).toEqual(["opening", "open", "absent", "open"]);
});

test("an over-long line is one discard with its size, and the next line is read", async () => {
  device.line.plug();
  source.start();
  await until("open", () => state() === "open");
  await send(`${"x".repeat(200)}\nnext\n`);
  await until("the frame", () => frames.length === 1);
  expect(frames).toEqual(["next"]);
  expect(discards).toEqual([["overlong", 200]]);
});

test("a port that is no serial port is a failure with its reason, and stop ends the retries", async () => {
  writeFileSync(path, "");
  source.start();
  await until("failed", () => state() === "failed");
  await source.stop();
  expect(state()).toBe("stopped");
});

test("a source stopped while it opens its port leaves the port to the next one", async () => {
  device.line.plug();
  for (let i = 0; i < 5; i++) {
    const brief = sourceOf();
    brief.start();
    await brief.stop();
  }
  statuses = [];
  source.start();
  await until("open", () => state() === "open");
  expect(statuses.map((status) => status.state)).toEqual(["opening", "open"]);
  await send("x\n");
  await until("the frame", () => frames.length === 1);
});

test("with the first line discarded, what comes before its end is no frame, at every opening", async () => {
  device.line.plug();
  source = sourceOf({ framing: lines("discard") });
  source.start();
  await until("open", () => state() === "open");
  await send("tail");
  await send(" of one\nwhole\n");
  await until("the frame", () => frames.length === 1);
  await device.line.unplug();
  await until("absent", () => state() === "absent");
  device.line.plug();
  await until("open again", () => state() === "open");
  await send("tail\nnext\n");
  await until("the frame", () => frames.length === 2);
  expect(frames).toEqual(["whole", "next"]);
  expect(discards).toEqual([
    ["truncated", 11],
    ["truncated", 4],
  ]);
});

test("packets arrive whole over a real port, and what an unplug cuts through is a discard", async () => {
  device.line.plug();
  source = sourceOf({ framing: framingOf(pms5003.framing) });
  source.start();
  await until("open", () => state() === "open");
  const packet = pms5003.packet.toString("latin1");
  await send(packet.slice(20) + packet + packet.slice(0, 20));
  await until("the packet", () => frames.length === 1);
  await device.line.unplug();
  await until("absent", () => state() === "absent");
  device.line.plug();
  await until("open again", () => state() === "open");
  await send(packet);
  await until("the packet", () => frames.length === 2);
  expect(frames).toEqual([packet, packet]);
  expect(discards).toEqual([
    ["unframed", 12],
    ["truncated", 20],
  ]);
});

test("a port that stays absent leaves no listener behind, however often it is tried", async () => {
  const listeners: number[] = [];
  const hasty: Clock = {
    ...systemClock,
    sleep: (_, signal) => {
      if (signal) listeners.push(getEventListeners(signal, "abort").length);
      return systemClock.sleep(1, signal);
    },
  };
  source = sourceOf({}, hasty);
  source.start();
  await until("fifty attempts", () => listeners.length >= 50);
  await source.stop();
  expect(new Set(listeners)).toEqual(new Set([0]));
});
