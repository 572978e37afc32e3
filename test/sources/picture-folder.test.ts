/** What is a picture in a real folder, and how it is read. */
import { execFileSync } from "node:child_process";
import { appendFileSync, chmodSync, renameSync, rmSync, symlinkSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { PictureFolder } from "../../src/sources/picture-folder.ts";
import { dropFolder } from "./drop-folder.ts";

const { place, config, drop, names } = dropFolder();
const none: ReadonlySet<string> = new Set();

test("a file is whole when its size and its time stayed the same, and the oldest comes first", async () => {
  const pictures = new PictureFolder(config({ settleMs: 1_000 }), place.clock);
  drop("new.jpg");
  drop("old.JPG");
  utimesSync(join(place.folder, "old.JPG"), 1, 1);
  drop("half.png", "half");
  expect(await pictures.look(none)).toMatchObject({ whole: [], wholeInMs: 1_000 });
  await place.clock.advance(600);
  appendFileSync(join(place.folder, "half.png"), " of it");
  expect(await pictures.look(none)).toMatchObject({ whole: [], wholeInMs: 400 });
  await place.clock.advance(400);
  const { whole, wholeInMs } = await pictures.look(none);
  expect([whole.map(({ name }) => name), wholeInMs]).toEqual([["old.JPG", "new.jpg"], 600]);
  const [old] = whole;
  drop("old.JPG", "another one of the same name");
  expect(old && (await pictures.read(old))).toBeUndefined();
  if (old) await pictures.finish(old);
  expect(names()).toContain("old.JPG");
});

test("a file that becomes a pipe or a link after it was looked at keeps nobody waiting, and is not followed", async () => {
  const pictures = new PictureFolder(config(), place.clock);
  const secret = join(place.folder, "secret");
  for (const become of [
    (path: string) => execFileSync("mkfifo", [path]),
    (path: string) => symlinkSync(secret, path),
  ]) {
    drop("a.jpg");
    renameSync(join(place.folder, "a.jpg"), secret);
    drop("a.jpg");
    for (const path of [secret, join(place.folder, "a.jpg")]) utimesSync(path, 1, 1);
    const [picture] = (await pictures.look(none)).whole;
    rmSync(join(place.folder, "a.jpg"));
    become(join(place.folder, "a.jpg"));
    expect(picture && (await pictures.read(picture))).toBeUndefined();
    rmSync(join(place.folder, "a.jpg"));
  }
});

test("a picture that may not be read is a discard", async () => {
  chmodSync(place.folder, 0o755);
  drop("a.jpg");
  chmodSync(join(place.folder, "a.jpg"), 0);
  const pictures = new PictureFolder(config(), place.clock);
  const [picture] = (await pictures.look(none)).whole;
  // Who is not root may not read it as it is.
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    expect(picture && (await pictures.read(picture))).toBe("unreadable");
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
});
