import {
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readlinkSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { type Fate, SerialLine } from "../../src/simulated-devices/serial-line.ts";
import { listen, until } from "./listener.ts";

let directory: string;
let path: string;
let line: SerialLine;
let fates: Fate[];
let received: Buffer;

const lineAt = (baudRate: number): SerialLine =>
  new SerialLine({
    path,
    baudRate,
    clock: systemClock,
    onReceived: (bytes) => {
      received = Buffer.concat([received, bytes]);
    },
  });
const send = (text: string): Promise<void> => line.send(Buffer.from(text), (fate) => fates.push(fate));
const reasons = (): string[] => fates.map((fate) => (fate.outcome === "dropped" ? fate.reason : "sent"));
/** Sends until the listener is known to the device: a line or two are lost before that. */
const sendUntilHeard = async (): Promise<number> => {
  for (let sent = 0; ; sent++) {
    if (fates.at(-1)?.outcome === "sent") return sent;
    await send("?\n");
    await delay(10);
  }
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "headgate-serial-line-"));
  path = join(directory, "ttySENSOR");
  fates = [];
  received = Buffer.alloc(0);
  line = lineAt(115_200);
});
afterEach(async () => {
  await line.stop();
  rmSync(directory, { recursive: true });
});

describe("a simulated serial line", () => {
  test("every byte value passes unchanged, and none comes back as echo", async () => {
    line.plug();
    const listener = await listen(path);
    await sendUntilHeard();
    const before = listener.bytes.length;
    const all = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
    await line.send(all, (fate) => fates.push(fate));
    await until(() => listener.bytes.length >= before + 256);
    expect(listener.bytes.subarray(-256)).toEqual(all);
    expect(fates.at(-1)?.outcome).toBe("sent");
    expect(received.length).toBe(0);
    await listener.close();
  });

  test("what the listener writes arrives at the device", async () => {
    line.plug();
    const listener = await listen(path);
    listener.port.write(Buffer.from("INTERVAL 500\r\n\u0003\u0004"));
    listener.port.write(Buffer.alloc(3000, 0x55));
    await until(() => received.length >= 3016);
    expect(received.toString("latin1")).toBe(`INTERVAL 500\r\n\u0003\u0004${"U".repeat(3000)}`);
    await listener.close();
  });

  test("bytes leave no faster than the baud rate", async () => {
    line = lineAt(9600);
    line.plug();
    const listener = await listen(path, 9600);
    await sendUntilHeard();
    const before = listener.bytes.length;
    const text = `${"x".repeat(95)}\n`;
    const started = systemClock.monotonic();
    for (let sent = 0; sent < 100; sent++) await send(text);
    await until(() => listener.bytes.length >= before + 9600);
    const elapsedMs = systemClock.monotonic() - started;
    expect(elapsedMs).toBeGreaterThan(0.8 * 10_000);
    expect(listener.bytes.subarray(before).toString()).toBe(text.repeat(100));
    await listener.close();
  }, 90_000);

  test("a long line arrives in pieces, not at once at its end", async () => {
    line = lineAt(9600);
    line.plug();
    const listener = await listen(path, 9600);
    await sendUntilHeard();
    const before = listener.bytes.length;
    let pieces = 0;
    listener.port.on("data", () => pieces++);
    await send(`${"x".repeat(400)}\n`);
    await until(() => listener.bytes.length >= before + 401);
    expect(pieces).toBeGreaterThan(3);
    await listener.close();
  });

  test("pulled out, the listener sees the end and the path is gone; put back, it is the same path", async () => {
    line.plug();
    const first = await listen(path);
    await sendUntilHeard();
    await line.unplug();
    await first.closed;
    expect(lstatSync(path, { throwIfNoEntry: false })).toBeUndefined();
    await expect(listen(path)).rejects.toThrow();
    await send("nobody\n");
    expect(reasons().at(-1)).toBe("unplugged");

    line.plug();
    expect(readlinkSync(path)).toMatch(/^\/dev\/pts\/\d+$/);
    const second = await listen(path);
    await sendUntilHeard();
    await send("back\n");
    await until(() => second.lines.includes("back"));
    expect(second.lines).not.toContain("nobody");
    await second.close();
  });

  test("a line that was sent is read even when the plug is pulled right after", async () => {
    line.plug();
    const listener = await listen(path);
    await sendUntilHeard();
    await send("the last one\n");
    await line.unplug();
    await listener.closed;
    expect(listener.lines.at(-1)).toBe("the last one");
  });

  test("a plug pulled in the middle of a line drops that line", async () => {
    line = lineAt(1200);
    line.plug();
    const listener = await listen(path);
    await sendUntilHeard();
    const sending = send(`${"x".repeat(200)}\n`);
    await until(() => listener.bytes.includes("xxx"));
    await line.unplug();
    await sending;
    expect(reasons().at(-1)).toBe("unplugged");
    expect(listener.lines.at(-1)).toBe("?");
  });

  test("with the port closed everything is dropped, and nothing stale waits for the next listener", async () => {
    line.plug();
    for (let sent = 0; sent < 20; sent++) await send("unheard\n");
    expect(reasons()).toEqual(Array(20).fill("unheard"));
    expect(line.droppedBytes).toBe(20 * 8);
    expect(line.writtenBytes).toBe(0);
    // Opened without a flush, unlike serialport does: a stale line would show.
    const port = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    await sendUntilHeard();
    await delay(50);
    const read = Buffer.alloc(100);
    expect(read.toString("latin1", 0, readSync(port, read))).toBe("?\n");
    // This listener set nothing up: the port was raw, without echo, before anybody opened it.
    expect(received.length).toBe(0);
    closeSync(port);
    await delay(100);
    await send("after\n");
    expect(reasons().at(-1)).toBe("unheard");
  });

  test("a listener that has only just opened the port may still flush, and is sent nothing yet", async () => {
    line.plug();
    const port = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    try {
      await send("early\n");
      expect(reasons()).toEqual(["unheard"]);
      await sendUntilHeard();
    } finally {
      closeSync(port);
    }
  });

  test("a listener that reads nothing: whole lines are dropped, the queue is bounded, the device goes on", async () => {
    line = lineAt(10_000_000);
    line.plug();
    const port = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    try {
      await sendUntilHeard();
      const text = `${"x".repeat(999)}\n`;
      const before = fates.length;
      const droppedBytesBefore = line.droppedBytes;
      for (let sent = 0; sent < 300; sent++) await send(text);
      const sent = fates.slice(before).filter((fate) => fate.outcome === "sent").length;
      const dropped = fates.slice(before).filter((fate) => fate.outcome === "dropped").length;
      expect(dropped).toBeGreaterThan(200);
      expect(line.droppedBytes - droppedBytesBefore).toBe(dropped * 1000);
      expect(sent + dropped + line.queuedLines).toBe(300);
      expect(line.queuedLines).toBeGreaterThan(0);
      expect(line.queuedLines).toBeLessThanOrEqual(4);
      expect(reasons().at(-1)).toBe("unread");
    } finally {
      closeSync(port);
    }
  });

  test("a slow listener that catches up gets whole lines, and their fate then is sent", async () => {
    line = lineAt(10_000_000);
    line.plug();
    const listener = await listen(path);
    await sendUntilHeard();
    listener.port.pause();
    const before = fates.length;
    for (let sent = 0; sent < 300; sent++) await send(`${String(sent).padStart(499, "0")}\n`);
    expect(reasons()).toContain("unread");
    listener.port.resume();
    await until(() => line.queuedLines === 0);
    const sent = fates.slice(before).filter((fate) => fate.outcome === "sent").length;
    await until(() => listener.lines.filter((text) => text.length === 499).length >= sent);
    expect(listener.lines.filter((text) => text !== "?" && text.length !== 499)).toEqual([]);
    expect(listener.lines.filter((text) => text.length === 499).length).toBe(sent);
    await listener.close();
  });

  test("a flush by the listener drops the line on the wire", async () => {
    line = lineAt(1200);
    line.plug();
    const listener = await listen(path);
    await sendUntilHeard();
    const sending = send(`${"x".repeat(200)}\n`);
    await until(() => listener.bytes.includes("xxx"));
    await new Promise<void>((resolve) => listener.port.flush(() => resolve()));
    await sending;
    expect(reasons().at(-1)).toBe("flushed");
    await listener.close();
  });

  test("a left-over link is replaced, anything else at the path is left alone", async () => {
    line.plug();
    const left = readlinkSync(path);
    const other = lineAt(9600);
    other.plug();
    expect(readlinkSync(path)).not.toBe(left);
    await other.stop();

    writeFileSync(path, "precious");
    const third = lineAt(9600);
    expect(() => third.plug()).toThrow(/not a symbolic link/);
    await third.stop();
    expect(existsSync(path)).toBe(true);
  });

  test("stop is safe twice and without plug, and ends a line on the wire", async () => {
    await line.stop();
    line = lineAt(300);
    line.plug();
    const listener = await listen(path);
    await sendUntilHeard();
    const sending = send(`${"x".repeat(2000)}\n`).catch((error: unknown) => error);
    await line.stop();
    expect(await sending).toMatchObject({ name: "AbortError" });
    expect(reasons().at(-1)).toBe("unplugged");
    await line.stop();
    await listener.closed;
  });
});
