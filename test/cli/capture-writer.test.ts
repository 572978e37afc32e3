/** What a capture's writer says of a disk that fails. */
import fs from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { CaptureWriter } from "../../src/cli/capture-writer.ts";
import type { SourceConfig } from "../../src/config/schema.ts";
import { systemClock } from "../../src/core/clock.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";

test("a disk that fails is told by the close as well, however long before it that was", async () => {
  const write = vi.spyOn(fs, "write");
  onTestFinished(() => write.mockRestore());
  const header = { by: "1", source: "a", startedAt: "2026-01-01T00:00:00Z", config: {} as SourceConfig };
  const path = join(temporaryFolder(), "a.jsonl");
  const writer = await CaptureWriter.create(path, header, 1_000_000, systemClock);
  await writer.written();
  write.mockImplementation(((...all: unknown[]) => {
    const done = all.at(-1) as (error: Error) => void;
    setImmediate(done, Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" }));
  }) as typeof fs.write);
  writer.frame(Buffer.from("x"));
  expect(await writer.ended).toMatchObject({ code: "ENOSPC" });
  await systemClock.sleep(50);
  await expect(writer.close()).rejects.toThrow("ENOSPC");
});
