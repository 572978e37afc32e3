/** What a box recorded, played into a daemon elsewhere: the same values come out, without the devices. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startProcess } from "./cli/processes.ts";
import { DaemonAtHub } from "./support/daemon-at-hub.ts";
import { SimulatedBme280 } from "./support/i2c/chips.ts";
import { SimulatedBus } from "./support/i2c/simulated-bus.ts";
import { SerialDevice } from "./support/serial-device.ts";
import { until } from "./support/until.ts";

let box: DaemonAtHub;

beforeEach(async () => {
  box = await DaemonAtHub.prepare();
});
afterEach(() => box.remove());

const capture = (name: string) => join(box.folder, `${name}.jsonl`);
/** Records a source of these until the capture holds what it is to hold; `send` is called when it is open. */
async function record(
  sources: Readonly<Record<string, object>>,
  isDone: (text: string) => boolean,
  environment: Readonly<Record<string, string>> = {},
  send: () => Promise<unknown> = async () => undefined,
): Promise<void> {
  const [source = ""] = Object.keys(sources);
  const config = join(box.folder, "record.json");
  writeFileSync(config, JSON.stringify({ sources }));
  const args = ["record", "--config", config, "--source", source, "--out", capture(source), "--for", "60s"];
  const running = startProcess(box.folder, args, environment);
  try {
    await running.shows('"state":"open"');
    await send();
    await until("it is recorded", () => isDone(readFileSync(capture(source), "utf8")));
  } finally {
    running.stop("SIGINT");
  }
  expect((await running.done).code).toBe(0);
}

test("a chip's registers that were recorded give the driver's values, units and ranges without the chip", async () => {
  const bus = await new SimulatedBus(box.folder).start();
  bus.plug(0x76, new SimulatedBme280());
  const chip = { type: "i2c", driver: "bme280", intervalMs: 50, device: "room" };
  await record({ room: chip }, (text) => text.split("\n").length > 10, bus.environment);
  await bus.stop();
  const recorded = readFileSync(capture("room"), "utf8").trimEnd().split("\n").length - 1;

  box.start({
    room: {
      type: "replay",
      path: capture("room"),
      speed: 0,
      decode: { format: "driver", driver: "bme280" },
      device: "room",
    },
  });
  await until("all of it is at the hub", () => box.readingsOf("room").length === recorded);
  expect(box.readingsOf("room")[0]).toMatchObject({
    temperature: { value: expect.closeTo(25.08, 2), unit: "°C", quality: "good" },
    pressure: { value: expect.closeTo(1006.53, 2), unit: "hPa" },
    humidity: { value: expect.closeTo(38.75, 1), unit: "%" },
  });
  const { sources } = await box.untilStatus(
    "it is at its end",
    ({ sources }) => sources.room?.state === "stopped",
  );
  expect(sources.room).toMatchObject({ reason: `the capture is at its end, after ${recorded} frames` });
  await box.stop();
});

test("lines of a port that were recorded give the same values and the same discards", async () => {
  const device = new SerialDevice();
  device.line.plug();
  const decode = { format: "csv", columns: ["id", "temperature"] };
  const port = {
    type: "serial",
    path: device.path,
    framing: { kind: "lines", first: "keep", maxBytes: 64 },
    decode,
    device: { field: "id" },
  };
  const lines = `oven-1,21.5\n${"x".repeat(100)}\noven-1,22.25\nthe end\n`;
  await record(
    { oven: port },
    (text) => text.includes("the end"),
    {},
    () => device.send(lines),
  );
  await device.stop();

  box.start({ oven: { type: "replay", path: capture("oven"), decode, device: { field: "id" } } });
  await until("both are at the hub", () => box.readingsOf("oven-1").length === 2);
  expect(box.readingsOf("oven-1").map(({ temperature }) => temperature?.value)).toEqual([21.5, 22.25]);
  const { store } = await box.untilStatus(
    "it is counted",
    ({ store: { books } }) => books.oven?.frames === 4,
  );
  expect(store.books.oven).toMatchObject({ ingested: 2, frameDiscards: { overlong: 1, columnCount: 1 } });
  await box.stop();
});
