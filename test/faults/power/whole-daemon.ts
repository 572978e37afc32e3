import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../../src/core/errors.ts";
import { startEmbeddedHub } from "../../../src/embedded-hub/embedded-hub.ts";
import { imbalances } from "../../../src/ledger/ledger.ts";
import { arrivedOf, readArrived } from "../../kill/arrived.ts";
import { RunningDaemon } from "../running-daemon.ts";
import { writeFiles } from "./cut-judge.ts";
import type { Gathered } from "./gather.ts";

/** A daemon starts on what a cut left, sends what waits, and ends in order. Returns what is wrong. */
export async function runOn(
  files: ReadonlyMap<string, Buffer>,
  gathered: Gathered,
  folder: string,
): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  writeFiles(files, gathered.root, folder);
  const hub = await startEmbeddedHub({ messageLog: join(folder, "messages.jsonl") });
  const config = { ...gathered.config, store: { ...gathered.config.store, path: join(folder, "store") } };
  const daemon = new RunningDaemon(folder, config, hub.environment("gateway"));
  try {
    daemon.start();
    const { store } = await daemon.untilStatus(
      "everything that waits is out",
      (status) => status.store.position > 0 && status.store.outbox.entries === 0,
    );
    await daemon.stop();
    const again = readArrived(join(folder, "messages.jsonl"));
    const both = [...again.entries].flatMap(([key, entry]) => {
      const before = gathered.arrived.get(key);
      // A gap tells of an end, and the recorded process came to another one, later.
      return before && entry.kind !== "gap" ? [before, entry] : [];
    });
    const twofold = [...again.twofold, ...arrivedOf(both).twofold];
    return [...imbalances(store.books), ...twofold];
  } catch (error) {
    return [messageOf(error)];
  } finally {
    await daemon.kill();
    await hub.stop();
  }
}
