/** The serial source with the real serialport package on a pseudo-terminal. */
import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { FrameDiscard } from "../../src/core/reading.ts";
import { SerialSource } from "../../src/sources/serial-source.ts";
import type { SourceStatus } from "../../src/sources/source.ts";
import { SerialDevice } from "../support/serial-device.ts";
import { until } from "../support/until.ts";

let path: string;
let device: SerialDevice;
let source: SerialSource;
let frames: string[];
let discards: [FrameDiscard, number][];
let statuses: SourceStatus[];

beforeEach(() => {
  device = new SerialDevice();
  ({ path } = device);
  frames = [];
  discards = [];
  statuses = [];
  source = new SerialSource(
    {
      path,
      baudRate: 115_200,
      dataBits: 8,
      stopBits: 1,
      parity: "none",
      flowControl: "none",
      maxLineBytes: 64,
      firstLine: "keep",
    },
    {
      frame: (bytes) => {
        frames.push(Buffer.from(bytes).toString("latin1"));
        return true;
      },
      discard: (reason, bytes) => discards.push([reason, bytes]),
      status: (status) => statuses.push(status),
    },
    systemClock,
  );
});

afterEach(async () => {
  await source.stop();
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
  expect(statuses.map((status) => status.state)).toEqual(["opening", "open", "absent", "open"]);
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
