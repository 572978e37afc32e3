import { spawn } from "node:child_process";
import { once } from "node:events";
import { lstatSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type {
  SimulatedSensor,
  SimulatedSensorOptions,
} from "../../src/simulated-devices/environment-sensor.ts";
import type { FieldLogEntry } from "../../src/simulated-devices/field-log.ts";
import {
  type SimulatedField,
  type SimulatedFieldOptions,
  startSimulatedField,
} from "../../src/simulated-devices/simulated-field.ts";
import { listen, until } from "./listener.ts";

let directory: string;
let fieldLog: string;
let field: SimulatedField | undefined;

const calm = { spikeEvery: 0, garbleEvery: 0, pauseEvery: 0 } as const;
const oven: SimulatedSensorOptions = { name: "oven", device: "oven-1", intervalMs: 15, ...calm };

const start = async (options: Partial<SimulatedFieldOptions> = {}): Promise<SimulatedField> => {
  field = await startSimulatedField({ devices: [oven], directory, fieldLog, ...options });
  return field;
};
const sensorOf = (running: SimulatedField, name: string): SimulatedSensor => {
  const sensor = running.sensors.get(name);
  if (sensor === undefined) throw new Error(`no sensor ${name}`);
  return sensor;
};
const readLog = (): FieldLogEntry[] =>
  readFileSync(fieldLog, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as FieldLogEntry);
const arrived = (entry: FieldLogEntry) => "sentAt" in entry;

/** The stream that the log says was on the wire. */
const replayed = (entries: readonly FieldLogEntry[]): string =>
  entries
    .filter(arrived)
    .map((entry) => entry.line + ("garbling" in entry && entry.garbling === "newlineLost" ? "" : "\n"))
    .join("");

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "headgate-field-"));
  fieldLog = join(directory, "field.jsonl");
});
afterEach(async () => {
  await field?.stop();
  field = undefined;
  rmSync(directory, { recursive: true });
});

describe("a simulated field", () => {
  test("what arrives is byte for byte what the field log says was sent", async () => {
    const running = await start();
    const oven1 = sensorOf(running, "oven");
    const before = Date.now();
    const listener = await listen(oven1.path);
    await until(() => oven1.counts.lines >= 100);
    await running.stop();
    await listener.closed;

    const entries = readLog();
    expect(listener.bytes.toString("latin1")).toBe(replayed(entries));
    const sent = entries.filter(arrived);
    expect(sent.length).toBe(oven1.counts.lines);
    for (const entry of sent) {
      if (!("values" in entry)) throw new Error("an intact line has values");
      expect(entry.device).toBe("oven-1");
      expect(JSON.parse(entry.line)).toEqual({ id: "oven-1", seq: entry.seq, ...entry.values });
      expect(entry.sentAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      expect(Date.parse(entry.sentAt)).toBeGreaterThanOrEqual(before);
      expect(Date.parse(entry.sentAt)).toBeLessThanOrEqual(Date.now());
    }
    expect(entries.map((entry) => entry.seq)).toEqual(entries.map((_, index) => index));
  });

  test("garbled and spiked lines are marked, and still account for every byte on the wire", async () => {
    const faulty = { ...oven, intervalMs: 5, spikeEvery: 4, garbleEvery: 3 };
    const running = await start({ devices: [faulty], seed: 7 });
    const oven1 = sensorOf(running, "oven");
    const listener = await listen(oven1.path);
    await until(() => oven1.counts.garbled >= 150 && oven1.counts.spikes >= 20);
    await running.stop();
    await listener.closed;

    const entries = readLog();
    expect(listener.bytes.toString("latin1")).toBe(replayed(entries));
    const garblings = new Set(entries.flatMap((entry) => ("garbling" in entry ? [entry.garbling] : [])));
    expect([...garblings].sort()).toEqual(["flipped", "merged", "newlineLost", "noise", "truncated"]);
    // A receiver that takes each line as JSON finds exactly the readings that the log calls intact.
    const decoded = listener.lines.flatMap((line) => {
      try {
        return [(JSON.parse(line) as { seq: number }).seq];
      } catch (error) {
        expect(error).toBeInstanceOf(SyntaxError);
        return [];
      }
    });
    const intact = entries.filter((entry) => "values" in entry);
    expect(decoded).toEqual(intact.map((entry) => entry.seq));
    expect(intact.filter((entry) => "spike" in entry).length).toBe(oven1.counts.spikes);
    expect(oven1.counts.bytes).toBe(listener.bytes.length);
  });

  test("every reading is counted once: sent, garbled, dropped, or still held", async () => {
    const running = await start({ devices: [{ ...oven, intervalMs: 2, garbleEvery: 5 }] });
    const oven1 = sensorOf(running, "oven");
    const balance = () => {
      const { generated, lines, garbled, dropped, queued } = oven1.counts;
      return generated - lines - garbled - dropped - queued;
    };
    await until(() => oven1.counts.dropped >= 10);
    const listener = await listen(oven1.path);
    await until(() => oven1.counts.lines >= 20);
    expect(balance()).toBe(0);
    await running.unplug("oven");
    const droppedBefore = oven1.counts.dropped;
    await until(() => oven1.counts.dropped >= droppedBefore + 10);
    await running.stop();
    await listener.closed;
    expect(oven1.counts.queued).toBe(0);
    expect(balance()).toBe(0);

    const entries = readLog();
    expect(entries.length).toBe(oven1.counts.generated);
    const dropped = entries.flatMap((entry) => ("dropped" in entry ? [entry] : []));
    expect(dropped.length).toBe(oven1.counts.dropped);
    expect(dropped.every((entry) => !("values" in entry) && !("sentAt" in entry))).toBe(true);
    expect(new Set(dropped.map((entry) => entry.reason))).toEqual(new Set(["unheard", "unplugged"]));
  });

  test("unplug by name hangs up that device alone, plug brings it back under its path with a gap", async () => {
    const running = await start({ devices: [oven, { ...oven, name: "room", device: "room-1" }] });
    const oven1 = sensorOf(running, "oven");
    const room = sensorOf(running, "room");
    const first = await listen(oven1.path);
    const other = await listen(room.path);
    await until(() => first.lines.length >= 5 && other.lines.length >= 5);
    await running.unplug("oven");
    await first.closed;
    expect(lstatSync(oven1.path, { throwIfNoEntry: false })).toBeUndefined();
    const droppedBefore = oven1.counts.dropped;
    const otherBefore = other.lines.length;
    await until(() => oven1.counts.dropped >= droppedBefore + 3 && other.lines.length >= otherBefore + 3);
    expect(other.port.isOpen).toBe(true);

    await running.plug("oven");
    const second = await listen(oven1.path);
    await until(() => second.lines.length >= 5);
    await running.stop();
    await Promise.all([second.closed, other.closed]);
    const entries = readLog();
    const ofOven = entries.filter((entry) => entry.device === "oven-1");
    // By lines: the one in the middle of which the plug was pulled may have left its beginning.
    expect(`${[...first.lines, ...second.lines].join("\n")}\n`).toBe(replayed(ofOven));
    expect(other.bytes.toString("latin1")).toBe(
      replayed(entries.filter((entry) => entry.device === "room-1")),
    );
    await expect(running.unplug("absent")).rejects.toThrow(RangeError);
  });

  test("the same seed sends the same lines again", async () => {
    const linesOf = async (seed: number): Promise<string[]> => {
      rmSync(fieldLog, { force: true });
      const running = await start({
        seed,
        devices: [{ ...oven, intervalMs: 2, garbleEvery: 4, spikeEvery: 4 }],
      });
      await until(() => sensorOf(running, "oven").counts.generated > 60);
      await running.stop();
      return readLog()
        .slice(0, 60)
        .map((entry) => entry.line);
    };
    const lines = await linesOf(3);
    expect(lines.length).toBe(60);
    expect(await linesOf(3)).toEqual(lines);
    expect(await linesOf(4)).not.toEqual(lines);
  });

  test("what a listener writes reaches the device by its name", async () => {
    const received: [string, string][] = [];
    const running = await start({
      devices: [{ ...oven, intervalMs: 50 }],
      onReceived: (name, bytes) => received.push([name, Buffer.from(bytes).toString()]),
    });
    const oven1 = sensorOf(running, "oven");
    const listener = await listen(oven1.path);
    listener.port.write("RATE 5\n");
    await until(() => oven1.counts.receivedBytes >= 7);
    expect(received.map(([name]) => name)).toContain("oven");
    expect(received.map(([, text]) => text).join("")).toBe("RATE 5\n");
    await listener.close();
  });

  test("stop is safe twice, leaves no path behind, and the log ends with a whole line", async () => {
    const running = await start();
    const { path } = sensorOf(running, "oven");
    const listener = await listen(path);
    await until(() => listener.lines.length >= 3);
    await Promise.all([running.stop(), running.stop()]);
    await running.stop();
    expect(lstatSync(path, { throwIfNoEntry: false })).toBeUndefined();
    expect(readFileSync(fieldLog, "utf8").endsWith("\n")).toBe(true);
    await listener.closed;
  });

  test("a field log that cannot be written stops no device, and stop says so", async () => {
    const running = await start({ fieldLog: "/dev/full" });
    const oven1 = sensorOf(running, "oven");
    await until(() => oven1.counts.dropped >= 5);
    await expect(running.stop()).rejects.toMatchObject({ errors: [{ cause: { code: "ENOSPC" } }] });
    field = undefined;
  });

  test("one device that cannot start leaves nothing running", async () => {
    writeFileSync(join(directory, "tty-room"), "in the way");
    const devices = [oven, { ...oven, name: "room" }];
    await expect(startSimulatedField({ devices, directory })).rejects.toThrow(/not a symbolic link/);
    expect(lstatSync(join(directory, "tty-oven"), { throwIfNoEntry: false })).toBeUndefined();
    await expect(startSimulatedField({ devices: [oven, oven], directory })).rejects.toThrow(RangeError);
    await expect(startSimulatedField({ devices: [{ ...oven, baudRate: 0 }], directory })).rejects.toThrow(
      RangeError,
    );
  });

  test.each(["stop", "exit"])(
    "a listener that reads nothing keeps no process from its end by %s",
    async (ending) => {
      const script = join(import.meta.dirname, "unread-device.ts");
      const child = spawn(process.execPath, [script, directory, ending], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let output = "";
      child.stdout.on("data", (chunk: Buffer) => {
        output += chunk.toString();
      });
      const [code] = await once(child, "close");
      expect(code).toBe(0);
      if (ending === "stop") expect(JSON.parse(output)).toMatchObject({ queued: 0, receivedBytes: 0 });
    },
  );
});
