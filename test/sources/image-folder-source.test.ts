/** Pictures of a real folder; the scores come from the test. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { PictureScores } from "../../src/infer/picture-scores.ts";
import { ImageFolderSource } from "../../src/sources/image-folder-source.ts";
import { PictureFolder } from "../../src/sources/picture-folder.ts";
import type { SourceStatus } from "../../src/sources/source.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { until } from "../support/until.ts";
import { dropFolder } from "./drop-folder.ts";

const { place, config, drop, names } = dropFolder();
const none: ReadonlySet<string> = new Set();
const cat: PictureScores = { kind: "scored", scores: [["cat", 0.75]], missing: [] };

/** A source at work, whose scores, room and commits the test decides. */
function running(more: object = {}) {
  const box = {
    frames: [] as Record<string, unknown>[],
    discards: [] as string[],
    status: { state: "stopped", reason: undefined } as SourceStatus,
    scored: 0,
    hasRoom: true,
    /** How often a commit was waited for. */
    waited: 0,
    answer: (_bytes: Uint8Array): PictureScores => cat,
    committed: (): Promise<void> => Promise.resolve(),
  };
  const sink = {
    frame: (bytes: Uint8Array) => box.frames.push(JSON.parse(Buffer.from(bytes).toString("utf8"))) > 0,
    discard: (reason: string, bytes: number) => void box.discards.push(`${reason} ${bytes}`),
    hasRoom: () => box.hasRoom,
    committed: () => {
      box.waited++;
      return box.committed();
    },
    status: (status: SourceStatus) => {
      box.status = status;
    },
  };
  const scorer = {
    unready: () => undefined,
    score: async (_: string, bytes: Uint8Array) => {
      box.scored++;
      return box.answer(bytes);
    },
  };
  const kept = { keep: async () => undefined };
  const source = new ImageFolderSource("gate", config(more), sink, place.clock, { scorer, kept });
  onTestFinished(() => source.stop());
  source.start();
  return {
    box,
    source,
    /** While time passes. */
    until: (what: string, condition: () => boolean) =>
      until(what, async () => {
        await place.clock.advance(200);
        return condition();
      }),
  };
}

test("other names, folders, pipes and links are left alone, and those that look like pictures are told", async () => {
  for (const name of ["notes.txt", ".hidden.jpg", "a.jpg.part", "jpg"]) drop(name);
  mkdirSync(join(place.folder, "folder.jpg"));
  execFileSync("mkfifo", [join(place.folder, "pipe.jpg")]);
  symlinkSync("loop.jpg", join(place.folder, "loop.jpg"));
  symlinkSync("/etc/hostname", join(place.folder, "link.jpg"));
  drop("a.jpg");
  const { box, ...source } = running();
  await source.until("the picture", () => box.frames.length === 1);
  await source.until("the reason", () => box.status.reason?.includes("and 1 more") === true);
  expect(box.status.state).toBe("open");
  expect(box.status.reason).toMatch(/"\w+\.jpg" is no plain file/);
  expect([box.discards, names()]).toEqual([
    [],
    [".hidden.jpg", "a.jpg.part", "folder.jpg", "jpg", "link.jpg", "loop.jpg", "notes.txt", "pipe.jpg"],
  ]);
});

test("a picture goes only when its reading is durable, and its frame tells which it was", async () => {
  let commit: () => void = () => undefined;
  const { box, ...source } = running();
  box.committed = () => new Promise((resolve) => (commit = resolve));
  drop("a.jpg");
  await source.until("the frame", () => box.frames.length === 1);
  expect(box.frames[0]).toEqual({ cat: 0.75, $picture: expect.stringMatching(/^a\.jpg 9 \d{15,}$/) });
  await place.clock.advance(5_000);
  expect(names()).toEqual(["a.jpg"]);
  commit();
  await source.until("it is gone", () => names().length === 0);
  expect(box.frames).toHaveLength(1);
});

test("what is done goes at a stop, when it is durable, and nothing else is scored", async () => {
  let commit: () => void = () => undefined;
  const { box, source, ...busy } = running();
  box.committed = () => new Promise((resolve) => (commit = resolve));
  drop("a.jpg");
  drop("b.jpg");
  await busy.until("both frames", () => box.frames.length === 2);
  drop("c.jpg");
  const stopped = source.stop();
  await until("it waits for its end", () => box.waited === 2);
  expect(names()).toEqual(["a.jpg", "b.jpg", "c.jpg"]);
  commit();
  await stopped;
  expect([names(), box.frames.length, box.status]).toEqual([
    ["c.jpg"],
    2,
    { state: "stopped", reason: undefined },
  ]);
});

test("a commit that does not come holds up no stop for long, and what stays is told", async () => {
  const { box, source, ...busy } = running();
  box.committed = () => new Promise(() => undefined);
  drop("a.jpg");
  await busy.until("the frame", () => box.frames.length === 1);
  await source.stop();
  expect(box.status).toMatchObject({ state: "stopped", reason: expect.stringContaining("folder (1)") });
  expect(names()).toEqual(["a.jpg"]);
});

test("while the model cannot be asked, pictures wait and the source says so", async () => {
  const { box, ...source } = running();
  box.answer = () => ({ kind: "wait", isPassing: true, message: "it is loading" });
  drop("a.jpg");
  drop("b.jpg");
  await source.until("it waits", () => box.status.reason?.includes("it is loading") === true);
  expect(box.status.state).toBe("opening");
  box.answer = () => ({ kind: "wait", isPassing: false, message: "it is failed: no file" });
  await source.until("it says why", () => box.status.state === "failed");
  expect([box.status.reason, names()]).toEqual([
    "pictures wait for the model zoo: it is failed: no file",
    ["a.jpg", "b.jpg"],
  ]);
  box.answer = () => cat;
  await source.until("both", () => box.frames.length === 2 && box.status.state === "open");
  expect([names(), box.status.reason, box.discards]).toEqual([[], undefined, []]);
});

test("without room for its reading a picture waits", async () => {
  const { box, ...source } = running();
  box.hasRoom = false;
  drop("a.jpg");
  await source.until("it was scored", () => box.scored === 1);
  await place.clock.advance(2_000);
  expect([box.frames, names()]).toEqual([[], ["a.jpg"]]);
  box.hasRoom = true;
  await source.until("it is gone", () => names().length === 0);
  expect([box.frames.length, box.scored]).toEqual([1, 1]);
});

test("what is no picture is a discard with its reason, kept within bounds, and the next one is scored", async () => {
  mkdirSync(join(place.folder, "rejected"));
  drop("rejected/19700101T000000.000Z-of-an-earlier-process.jpg");
  const { box, ...source } = running({ maxBytes: 1_024, rejected: { maxFiles: 2 } });
  box.answer = () => ({ kind: "discard", reason: "badImage", message: "no image" });
  drop("a-text.jpg", "I am a text");
  drop("empty.jpg", "");
  drop("huge.jpg", new Uint8Array(1_025));
  await source.until("they are counted", () => box.discards.length === 3);
  await source.until("they are gone", () => names().join() === "rejected");
  expect(box.discards.sort()).toEqual(["badImage 11", "empty 0", "overlong 1025"]);
  expect(names("rejected")).toHaveLength(2);
  expect(names("rejected").join()).not.toContain("earlier");
  box.answer = () => cat;
  drop("b.jpg");
  await source.until("the next", () => box.frames.length === 1);
});

test("a link in place of `rejected` costs no file where it leads, and holds up no other picture", async () => {
  const elsewhere = temporaryFolder();
  for (const name of ["headgate.db", "19700101T000000.000Z-a.jpg"]) writeFileSync(join(elsewhere, name), "1");
  symlinkSync(elsewhere, join(place.folder, "rejected"));
  const { box, ...source } = running({ rejected: { maxFiles: 0 } });
  box.answer = (bytes) =>
    bytes.length > 9 ? cat : { kind: "discard", reason: "badImage", message: "no image" };
  drop("a.jpg", "no image");
  await source.until("it says so", () => box.status.reason?.includes("but a link") === true);
  drop("b.jpg", "a good picture");
  await source.until("the other is gone", () => !existsSync(join(place.folder, "b.jpg")));
  expect([names(), readdirSync(elsewhere).length]).toEqual([["a.jpg", "rejected"], 2]);
  expect([box.frames.length, box.discards]).toEqual([1, ["badImage 8"]]);
});

test("a picture at which the model alone fails is a discard after a while, and holds up no other", async () => {
  const { box, ...source } = running();
  const fails = (bytes: Uint8Array) => Buffer.from(bytes).toString().includes("poison");
  box.answer = (bytes) => (fails(bytes) ? { kind: "failed", message: "no number" } : cat);
  drop("a.jpg", "poison");
  await source.until(
    "it says so",
    () => box.status.reason?.includes('failed at "a.jpg": no number') === true,
  );
  expect(box.status.state).toBe("failed");
  drop("b.jpg");
  await source.until("the other", () => box.frames.length === 1);
  await source.until("it is given up", () => box.discards.length === 1);
  expect([box.discards, box.scored]).toEqual([["unscored 6"], 6]);
  await source.until("it is open", () => box.status.state === "open");
  expect(names()).toEqual(["rejected"]);
});

test("many pictures at which the model fails, older than all others, hold up none of these", async () => {
  const { box, ...source } = running();
  const fails = (bytes: Uint8Array) => Buffer.from(bytes).toString().includes("poison");
  box.answer = (bytes) => (fails(bytes) ? { kind: "failed", message: "no number" } : cat);
  for (let i = 0; i < 40; i++) {
    drop(`${i}.jpg`, "poison");
    utimesSync(join(place.folder, `${i}.jpg`), 1, 1);
  }
  for (let i = 0; i < 3; i++) drop(`good-${i}.jpg`);
  await source.until("the others", () => box.frames.length === 3);
  await source.until("they are given up, once others were scored behind them", () => {
    drop("another.jpg");
    return box.discards.length === 40;
  });
});

test("a picture at which the model is busy each time holds up no other, and is not given up", async () => {
  const { box, ...source } = running();
  const isBusy = (bytes: Uint8Array) => Buffer.from(bytes).toString().includes("busy");
  box.answer = (bytes) => (isBusy(bytes) ? { kind: "wait", isPassing: true, message: "answers 503" } : cat);
  drop("a.jpg", "busy");
  utimesSync(join(place.folder, "a.jpg"), 1, 1);
  for (let i = 0; i < 20; i++) drop(`${i}.jpg`);
  await source.until("the others", () => box.frames.length === 20);
  const { scored } = box;
  await source.until("it is tried again", () => box.scored > scored + 10);
  expect([names(), box.discards, box.status.state]).toEqual([["a.jpg"], [], "opening"]);
});

test("while the model fails at all pictures, they wait", async () => {
  const { box, ...source } = running();
  box.answer = () => ({ kind: "failed", message: "no number" });
  for (let i = 0; i < 40; i++) drop(`${i}.jpg`);
  await source.until("it was tried often", () => box.scored > 10 * 32);
  expect([box.discards, names().length, box.status.state]).toEqual([[], 40, "failed"]);
  box.answer = () => cat;
  await source.until("all are scored", () => names().length === 0);
  expect([box.frames.length, box.discards]).toEqual([40, []]);
});

test("where pictures cannot be moved to, none is scored before they can", async () => {
  const done = join(place.folder, "..", `${place.folder.split("/").at(-1)}-done`);
  onTestFinished(() => rmSync(done, { recursive: true, force: true }));
  writeFileSync(done, "in the way");
  const { box, ...source } = running({ afterwards: "move", moveTo: done });
  drop("a.jpg");
  await source.until("it says so", () => box.status.reason?.includes(done) === true);
  await place.clock.advance(10_000);
  expect([box.status.state, box.scored, names()]).toEqual(["failed", 0, ["a.jpg"]]);
  rmSync(done);
  await source.until("it is moved", () => existsSync(done) && readdirSync(done).length === 1);
  await source.until("it is open", () => box.status.state === "open");
  drop("a.jpg", "a newer one");
  await source.until("it is moved, too", () => readdirSync(done).length === 2);
});

test("a folder of another file system is none to move pictures to", async (context) => {
  const other = "/dev/shm";
  if (!existsSync(other) || statSync(other).dev === statSync(place.folder).dev) return context.skip();
  const moveTo = mkdtempSync(join(other, "headgate-done-"));
  onTestFinished(() => rmSync(moveTo, { recursive: true }));
  const { box, ...source } = running({ afterwards: "move", moveTo });
  drop("a.jpg");
  await source.until("it says so", () => box.status.reason?.includes("another file system") === true);
  expect([box.status.state, box.scored]).toEqual(["failed", 0]);
});

test("a picture that cannot be removed is not scored again, holds up no other, and goes when it can", async (context) => {
  if (!process.seteuid || process.geteuid?.() !== 0) return context.skip();
  // Of others' files in a sticky folder everybody may make new ones and read all, and delete none (Linux, inode(7)).
  chmodSync(place.folder, 0o1777);
  drop("a.jpg");
  process.seteuid(65_534);
  try {
    const { box, ...source } = running();
    await source.until("it says so", () => box.status.reason?.includes("cannot be removed (1)") === true);
    expect(box.status.state).toBe("failed");
    drop("b.jpg");
    await source.until("the other", () => box.frames.length === 2 && names().join() === "a.jpg");
    await place.clock.advance(40_000);
    expect(box.scored).toBe(2);
    process.seteuid(0);
    await source.until("it is gone", () => names().length === 0);
    await source.until("it is open", () => box.status.state === "open");
    expect(box.scored).toBe(2);
  } finally {
    process.seteuid(0);
  }
});

test("of pictures that cannot be removed no more than a few dozen are scored", async (context) => {
  if (!process.seteuid || process.geteuid?.() !== 0) return context.skip();
  chmodSync(place.folder, 0o1777);
  for (let i = 0; i < 100; i++) drop(`${i}.jpg`);
  process.seteuid(65_534);
  try {
    const { box, ...source } = running();
    await source.until("it says so", () => box.status.reason?.includes("cannot be removed (64)") === true);
    await place.clock.advance(40_000);
    expect([box.scored, box.frames.length, names().length]).toEqual([64, 64, 100]);
    process.seteuid(0);
    await source.until("all are gone", () => names().length === 0);
    expect(box.frames).toHaveLength(100);
  } finally {
    process.seteuid(0);
  }
});

test("a folder that goes is absent, and is read when it comes back", async () => {
  const { box, ...source } = running();
  await source.until("it is open", () => box.status.state === "open");
  const away = `${place.folder}-away`;
  renameSync(place.folder, away);
  await source.until("it is absent", () => box.status.state === "absent");
  writeFileSync(join(away, "a.jpg"), "a picture");
  renameSync(away, place.folder);
  await source.until("the picture", () => box.frames.length === 1);
});

test("of a folder of many files no more than a thousand are looked at in one go, and all are scored", async () => {
  for (let i = 0; i < 1_200; i++) drop(`${i}.jpg`);
  const { whole, isAll } = await new PictureFolder(config(), place.clock).look(none);
  expect([whole.length, isAll]).toEqual([1_000, false]);
  const { box, ...source } = running({ lookMs: 3_600_000 });
  await source.until("all are gone", () => names().length === 0);
  expect(box.frames).toHaveLength(1_200);
});
