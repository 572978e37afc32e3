import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "../../core/temporary-folder.ts";
import { readOperations } from "../power/op-log.ts";
import { compileShim, Shim } from "./shim.ts";

/** Runs a script of its own process under the shim; returns what it printed. */
function under(prepare: (shim: Shim) => void, script: string) {
  const folder = temporaryFolder();
  const shim = new Shim(compileShim(folder), join(folder, "disk"), folder);
  const log = join(folder, "operations");
  try {
    prepare(shim);
    const output = execFileSync(
      process.execPath,
      ["--input-type=module", "-e", script, join(folder, "disk")],
      {
        env: { ...process.env, ...shim.environment(log) },
        cwd: new URL("../../..", import.meta.url),
        encoding: "utf8",
      },
    );
    return { output: output.trim(), operations: readOperations(readFileSync(log)), syncs: shim.syncs };
  } finally {
    shim.close();
  }
}

// A preloaded library is Linux's.
// `npm test` must pass without a compiler; the build has one.
const hasCompiler = spawnSync("cc", ["--version"]).status === 0;
describe.runIf(process.platform === "linux" && hasCompiler)("a process under the shim", () => {
  test("sees the wall clock moved, and the monotonic one not", () => {
    const script = "console.log(Date.now(), String(process.hrtime.bigint()))";
    const before = { wall: Date.now(), monotonic: process.hrtime.bigint() };
    const { output } = under((shim) => shim.wallOffset(-86_400_000), script);
    const [wall = 0, monotonic = 0] = output.split(" ").map(Number);
    expect(wall).toBeLessThan(before.wall);
    expect(wall).toBeGreaterThanOrEqual(before.wall - 86_400_000);
    expect(monotonic).toBeGreaterThan(Number(before.monotonic));
  });

  test("is recorded: SQLite's writes with their bytes, its syncs, and names", () => {
    const script = `
      import Sqlite from "better-sqlite3";
      import { renameSync, unlinkSync, writeFileSync } from "node:fs";
      const folder = process.argv[1];
      const database = new Sqlite(folder + "/a.db");
      database.pragma("journal_mode = WAL");
      database.pragma("synchronous = FULL");
      database.exec("CREATE TABLE t (x); INSERT INTO t VALUES ('a text to find again')");
      writeFileSync(folder + "/one", "1");
      renameSync(folder + "/one", folder + "/two");
      unlinkSync(folder + "/two");`;
    const { operations, syncs } = under(() => undefined, script);
    const wal = operations.find((o) => o.kind === "open" && o.path.endsWith("/a.db-wal"));
    const file = wal?.kind === "open" ? wal.file : -1;
    const write = operations.findIndex(
      (o) => o.kind === "write" && o.file === file && o.data.includes("a text to find again"),
    );
    expect(write).toBeGreaterThan(0);
    expect(operations.slice(write).some((o) => o.kind === "syncEnd" && o.file === file)).toBe(true);
    expect(syncs).toBe(operations.filter(({ kind }) => kind === "syncEnd").length);
    expect(operations.find(({ kind }) => kind === "rename")).toMatchObject({
      from: expect.stringMatching(/\/one$/),
      to: expect.stringMatching(/\/two$/),
    });
    expect(operations.filter((o) => o.kind === "unlink" && o.path.endsWith("/two"))).toHaveLength(1);
    expect(operations.map(({ sequence }) => sequence)).toEqual(operations.map((_, index) => index + 1));
  });

  test.each([
    ["a disk that is full", (shim: Shim) => shim.full("always"), "ENOSPC"],
    ["a disk on which nothing can grow", (shim: Shim) => shim.full("growing"), "ENOSPC"],
    ["a disk that is read-only", (shim: Shim) => shim.readOnly("on"), "EROFS"],
    ["a disk that is well", () => undefined, "ok"],
  ])("meets %s", (_, prepare, expected) => {
    const script = `
      import { writeFileSync } from "node:fs";
      try {
        writeFileSync(process.argv[1] + "/file", "x");
        console.log("ok");
      } catch (error) {
        console.log(error.code);
      }`;
    expect(under(prepare, script).output).toBe(expected);
  });
});
