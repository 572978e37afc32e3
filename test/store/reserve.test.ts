import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Reserve } from "../../src/store/reserve.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";

test("the reserve has its size, also where one of a smaller bound was left", () => {
  const folder = temporaryFolder();
  const path = join(folder, "headgate.db.reserve");
  const bytes = 2_500_000;
  writeFileSync(path, Buffer.alloc(1_000_000));
  const reserve = new Reserve(folder, "headgate.db", bytes);
  reserve.keep();
  expect(statSync(path).size).toBe(bytes);
  expect(reserve.release()).toBe(true);
  expect(reserve.release()).toBe(false);
  reserve.keep();
  expect(statSync(path).size).toBe(bytes);
});
