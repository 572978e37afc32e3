import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import type { FolderBounds } from "../../src/core/bounded-folder.ts";
import { systemClock } from "../../src/core/clock.ts";
import { KeptPictures } from "../../src/pictures/kept-pictures.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";

let folder: string;
let wallMs: number;
let kept: KeptPictures;
beforeEach(() => {
  folder = temporaryFolder();
  wallMs = 0;
  kept = new KeptPictures(folder, { ...systemClock, wall: () => wallMs });
});

/** Each a second after the one before. */
const keep = (identity: string, bounds: FolderBounds) => {
  wallMs += 1_000;
  const bytes = Uint8Array.of(0xff, 1, 2, 3);
  return kept.keep("gate", bounds, { bytes, identity, scores: [["cat", 0.5]] });
};
const listed = async (limit = 100) => (await kept.list("gate", undefined, limit)).map(({ time }) => time);
const at = (...seconds: number[]) => seconds.map((second) => new Date(second * 1_000).toISOString());

test("bounds that change while a picture is being kept hold for it and for those before", async () => {
  const [wide, narrow] = [2, 1].map((maxFiles) => ({ maxFiles, maxBytes: 10_000 })) as [
    FolderBounds,
    FolderBounds,
  ];
  await keep("a", wide);
  await Promise.all([keep("b", wide), keep("c", narrow), keep("d", narrow)]);
  expect(await listed()).toEqual(at(4));
  await keep("e", wide);
  expect(await listed()).toEqual(at(5, 4));
  expect(readdirSync(join(folder, "pictures", "gate"))).toHaveLength(4);
});

test("a picture whose text is damaged is left out of the list, and takes no place in it", async () => {
  const bounds = { maxFiles: 10, maxBytes: 10_000 };
  for (const identity of ["a", "b", "c", "d", "e", "f"]) await keep(identity, bounds);
  const files = readdirSync(join(folder, "pictures", "gate")).filter((name) => name.endsWith(".json"));
  const damaged = ["", '{"time":"19', "[]", '{"time":1,"bytes":4,"scores":{}}'];
  for (const [i, text] of damaged.entries())
    writeFileSync(join(folder, "pictures", "gate", files[i + 1] ?? ""), text);
  expect(await listed()).toEqual(at(6, 1));
  expect(await listed(2)).toEqual(at(6, 1));
});
