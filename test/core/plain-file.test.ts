import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readPlainFile } from "../../src/core/plain-file.ts";
import { temporaryFolder } from "./temporary-folder.ts";

test("a file is read; a pipe is refused, not waited for, and so is a folder", async () => {
  const folder = temporaryFolder();
  const path = (name: string) => join(folder, name);
  writeFileSync(path("file"), "text");
  execFileSync("mkfifo", [path("pipe")]);
  expect((await readPlainFile(path("file"))).toString("utf8")).toBe("text");
  await expect(readPlainFile(path("pipe"))).rejects.toThrow(`${path("pipe")} is no file`);
  await expect(readPlainFile(folder)).rejects.toThrow(`${folder} is no file`);
  await expect(readPlainFile(path("none"))).rejects.toThrow("ENOENT");
});
