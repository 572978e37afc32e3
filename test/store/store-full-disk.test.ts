import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { codeOf } from "../core/codes.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { tick } from "../journal/batches.ts";
import { commitOf, configuration, copyAsKilled, openStore, reading, t0, truth } from "./stores.ts";

/** Lets the system refuse to grow any file of this process beyond `bytes`, while `work` runs. */
function withFilesLimitedTo<T>(bytes: number, work: () => T): T {
  const limit = (soft: string) => execFileSync("prlimit", ["--pid", `${process.pid}`, `--fsize=${soft}:`]);
  limit(`${bytes}`);
  try {
    return work();
  } finally {
    limit("unlimited");
  }
}

// `prlimit` is Linux's; elsewhere nothing honest makes a write fail in the middle.
describe.runIf(process.platform === "linux")("a commit that fails", () => {
  const filled = (folder: string) => {
    const { store, close } = openStore(folder);
    store.commit(commitOf([configuration(-5_000), reading(0, { t: 1 }), tick(t0 + 1_000)], t0 + 9_000));
    store.commit(commitOf([reading(1_000, { t: 2 }), reading(1_100, { t: 3 })], t0 + 9_100));
    return { store, close };
  };
  const next = () => {
    // Not compressible, so that the batch needs pages of its own.
    const noise = Array.from({ length: 3_000 }, (_, i) =>
      String.fromCharCode(33 + ((i * i * 7919) % 90)),
    ).join("");
    const entries = [reading(1_500, { t: 4, noise }), tick(t0 + 2_000), reading(2_100, { t: 5 })];
    return commitOf(entries, t0 + 12_000, { acknowledged: [1] });
  };

  test("at any byte of its writes leaves everything as before, and can be repeated", async () => {
    const expected = filled(temporaryFolder());
    const after = truth(expected.store, expected.store.commit(next()));
    const stripped = (t: typeof after) =>
      JSON.stringify(t).replaceAll(/[0-9a-f]{8}-[0-9]+|[0-9a-f]{32}/g, "id");
    let failed = 0;
    for (let more = 0; more < 40_000; more += 2_500) {
      const folder = temporaryFolder();
      const { store, close } = filled(folder);
      const before = truth(store, store.status());
      const wal = statSync(join(folder, "headgate.db-wal")).size;
      const code = await codeOf(() => withFilesLimitedTo(wal + more, () => store.commit(next())));
      if (code === "none") {
        close();
        continue;
      }
      failed++;
      expect(code).toBe("STORE_UNUSABLE");
      expect(truth(store, store.status())).toEqual(before);
      expect(store.audit()).toEqual(before.books);
      const copy = openStore(copyAsKilled(folder, join(folder, "copy")));
      expect(truth(copy.store, copy.opened.status)).toEqual(before);
      copy.close();
      expect(stripped(truth(store, store.commit(next())))).toBe(stripped(after));
      expect(store.audit()).toEqual(store.status().books);
      close();
      const again = openStore(folder);
      expect(stripped(truth(again.store, again.opened.status))).toBe(stripped(after));
      again.close();
    }
    expect(failed).toBeGreaterThan(2);
  });

  test("again and again leaves it as before each time", async () => {
    const folder = temporaryFolder();
    const { store } = filled(folder);
    const before = truth(store, store.status());
    const { size } = statSync(join(folder, "headgate.db-wal"));
    const codes = withFilesLimitedTo(size, () =>
      Array.from({ length: 5 }, () => {
        try {
          store.commit(next());
          return "none";
        } catch (error) {
          return (error as { code: string }).code;
        }
      }),
    );
    expect(codes).toEqual(Array(5).fill("STORE_UNUSABLE"));
    expect(truth(store, store.status())).toEqual(before);
    expect(await codeOf(() => store.commit(next()))).toBe("none");
  });
});
