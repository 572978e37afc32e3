import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Witness } from "../../src/store/witness.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headgate-witness-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const openFiles = () => readdirSync("/proc/self/fd").length;

describe.runIf(existsSync("/dev/full"))("a witness on a full disk", () => {
  test("keeps no file open for each write that failed, and goes on when there is room", () => {
    const path = join(folder, "headgate.db.position");
    symlinkSync("/dev/full", path);
    const witness = new Witness(folder, "headgate.db");
    const before = openFiles();
    for (let position = 1; position <= 20; position++) witness.write("id", position);
    expect(openFiles()).toBe(before);
    rmSync(path);
    witness.write("id", 21);
    witness.close();
    expect(witness.read("id")).toBe(21);
  });
});
