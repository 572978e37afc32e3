/** Thermometers on 1-Wire over real files; a named pipe is a file that the kernel answers late. */
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { OneWireSourceConfig } from "../../src/config/schema.ts";
import { systemClock } from "../../src/core/clock.ts";
import { KernelReads } from "../../src/sources/kernel-file.ts";
import { OneWireDevice } from "../../src/sources/one-wire-device.ts";
import { PollingSource } from "../../src/sources/polling-source.ts";
import type { SourceStatus } from "../../src/sources/source.ts";
import { Turns } from "../../src/sources/turns.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { OneWireTree, w1Slave } from "../support/sysfs-tree.ts";
import { until } from "../support/until.ts";

const ids = ["28-000000000001", "28-000000000002"] as const;
let folder: string;
let tree: OneWireTree;
let turns: Turns;
let sources: PollingSource[];

beforeEach(() => {
  folder = temporaryFolder();
  tree = new OneWireTree(folder);
  turns = new Turns();
  sources = [];
});
afterEach(async () => {
  await Promise.all(sources.map((source) => source.stop()));
});

interface Seen {
  readonly frames: string[];
  readonly discards: string[];
  readonly statuses: SourceStatus[];
}

function start(id: string): Seen {
  const seen: Seen = { frames: [], discards: [], statuses: [] };
  const sink = {
    frame: (bytes: Uint8Array) => seen.frames.push(Buffer.from(bytes).toString("latin1")) > 0,
    discard: (reason: string) => void seen.discards.push(reason),
    hasRoom: () => true,
    committed: () => Promise.resolve(),
    status: (status: SourceStatus) => void seen.statuses.push(status),
  };
  const config = { id, root: tree.devices } as OneWireSourceConfig;
  const source = new PollingSource(new OneWireDevice(config, turns), 20, sink, systemClock);
  sources.push(source);
  source.start();
  return seen;
}
const state = ({ statuses }: Seen) => statuses.at(-1)?.state;

test("a thermometer is absent until the kernel finds it, again when it is pulled out, and read when it is back", async () => {
  const seen = start(ids[0]);
  await until("absent", () => state(seen) === "absent");
  expect(seen.statuses.at(-1)?.reason).toBe(`${ids[0]} on 1-Wire: it is not on the bus`);
  tree.plug(ids[0], w1Slave(370));
  await until("open", () => state(seen) === "open");
  tree.unplug(ids[0]);
  await until("absent again", () => state(seen) === "absent");
  expect(seen.discards).toContain("noAnswer");
  const before = seen.frames.length;
  tree.plug(ids[0], w1Slave(-1), 2);
  await until("frames again", () => seen.frames.length > before);
  expect(new Set(seen.frames)).toEqual(new Set([w1Slave(370), w1Slave(-1)]));
});

test("a file that says nothing is no frame: the kernel got no valid answer", async () => {
  tree.plug(ids[0], "");
  const seen = start(ids[0]);
  await until("absent", () => state(seen) === "absent");
  expect(seen.statuses.at(-1)?.reason).toContain("no valid answer");
  expect(seen.frames).toEqual([]);
  expect(seen.discards).toContain("noAnswer");
});

test("a checksum that the kernel found wrong is a frame, which the pipeline discards", async () => {
  tree.plug(ids[0], w1Slave(370, "NO"));
  const seen = start(ids[0]);
  await until("a frame", () => seen.frames.length > 0);
  expect(seen.frames[0]).toContain("NO");
});

/** A pipe in place of the file, so that whoever opens it waits for an answer. */
function pipe(id: string): { answer(text: string): void; remove(): void } {
  tree.plug(id, "");
  const path = join(tree.folder(id), "w1_slave");
  rmSync(path);
  execFileSync("mkfifo", [path]);
  // Opened for both, it wakes who waits, and does not wait itself (fifo(7)).
  const wake = () => openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  return {
    answer: (text) => {
      const file = wake();
      writeSync(file, text);
      closeSync(file);
    },
    remove: () => {
      const file = wake();
      rmSync(path);
      closeSync(file);
    },
  };
}

test("two thermometers of one bus are asked one after the other, and one of another bus does not wait for them", async () => {
  const slow = pipe(ids[0]);
  tree.plug(ids[1], w1Slave(16), 1);
  tree.plug("28-000000000003", w1Slave(32), 2);
  const seen = start(ids[0]);
  const elsewhere = start("28-000000000003");
  await until("the other bus is read", () => elsewhere.frames.length >= 5);
  const neighbour = start(ids[1]);
  const before = elsewhere.frames.length;
  await until("the other bus goes on", () => elsewhere.frames.length >= before + 10);
  expect(neighbour.frames).toEqual([]);
  slow.answer(w1Slave(370));
  await until("the neighbour is read", () => neighbour.frames.length > 0);
  expect(seen.frames).toEqual([w1Slave(370)]);
  slow.remove();
});

test("a read that does not end is given up, and none is begun beside it", async () => {
  const reads = new KernelReads(50, "ONE_WIRE_UNAVAILABLE");
  let begun = 0;
  let end: (() => void) | undefined;
  const work = () => {
    begun++;
    return new Promise<void>((resolve) => {
      end = resolve;
    });
  };
  const { signal } = new AbortController();
  await expect(reads.run(work, "reading", signal)).rejects.toThrow("no answer within 50 ms");
  await expect(reads.run(work, "reading", signal)).rejects.toThrow("has not come to an end");
  expect(begun).toBe(1);
  end?.();
  await new Promise((resolve) => setImmediate(resolve));
  await reads.run(async () => begun++, "reading", signal);
  expect(begun).toBe(2);
});
