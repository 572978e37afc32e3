import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach } from "vitest";
import { imageFolderSource } from "../../src/config/image-source-schema.ts";
import { ManualClock } from "../core/manual-clock.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";

/** A folder that pictures are dropped into, and a clock, both new for each test. */
export function dropFolder() {
  const place = { folder: "", clock: new ManualClock() };
  beforeEach(() => {
    place.folder = temporaryFolder();
    place.clock = new ManualClock();
  });
  return {
    place,
    /** A source of its pictures. */
    config: (more: object = {}) =>
      imageFolderSource.parse({
        type: "imageFolder",
        device: "gate",
        model: "zoo",
        folder: place.folder,
        settleMs: 0,
        ...more,
      }),
    drop: (name: string, bytes: string | Uint8Array = "a picture") =>
      writeFileSync(join(place.folder, name), bytes),
    names: (within = ".") => readdirSync(join(place.folder, within)).sort(),
  };
}
