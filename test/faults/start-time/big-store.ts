import { statSync } from "node:fs";
import { join } from "node:path";
import { checkConfig, pipelineConfig } from "../../../src/config/check.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { BatchWriter } from "../../../src/journal/batch.ts";
import type { Commit } from "../../../src/store/contract.ts";
import { Store, storeFile } from "../../../src/store/store.ts";
import { composing } from "../../support/composing.ts";

const devices = 10;
/** Windows of a second of each device per commit. */
const secondsPerBatch = 1_000;

export interface BigStore {
  readonly bytes: number;
  readonly entries: number;
}

/**
 * Makes a store whose outbox holds `bytes` of entries, as after days without a hub: through the store itself, with big
 * batches, and a past that ends now.
 */
export function makeBigStore(folder: string, sections: JsonObject, source: string, bytes: number): BigStore {
  const checked = checkConfig(sections);
  const { maxDelayMs, maxMessageBytes, output } = checked.config.publish;
  const settings = { snapshotEvery: 10_000, replayBytes: 0, maxBytes: 4 * bytes, retention: {} };
  const store = new Store(folder, settings);
  try {
    store.open();
    const writer = new BatchWriter();
    // So far back that the batches do not reach the present.
    let atMs = Date.now() - 30 * 86_400_000;
    const bootedMs = atMs;
    const times = () => ({ wallMs: atMs, monotonicMs: atMs - bootedMs });
    writer.rare({ type: "clock", ...times(), bootId: "earlier", quality: "synced" });
    writer.rare({ type: "configuration", ...times(), config: pipelineConfig(checked) });
    const commit = (last = false) =>
      store.commit({
        batch: writer.take(),
        acknowledged: [],
        rejected: [],
        compose: { ...composing, maxDelayMs, maxMessageBytes, output },
        nowMs: atMs,
        monotonicMs: atMs - bootedMs,
        ...(last ? { last } : {}),
      } satisfies Commit);
    let entries = 0;
    for (let seq = 1; statSync(join(folder, storeFile)).size < bytes; ) {
      for (let second = 0; second < secondsPerBatch; second++, atMs += 1_000, seq++) {
        for (let device = 0; device < devices; device++) {
          const frame = Buffer.from(reading(device, seq));
          writer.frame(source, atMs, atMs - bootedMs, frame);
        }
      }
      writer.tick(atMs, atMs - bootedMs);
      entries = commit().outbox.entries;
    }
    commit(true);
    return { bytes: statSync(join(folder, storeFile)).size, entries };
  } finally {
    store.close();
  }
}

function reading(device: number, seq: number): string {
  const wave = Math.sin(seq / 500 + device);
  return JSON.stringify({
    device: `device-${device}`,
    temperature: 21 + 3 * wave,
    humidity: 45 + 10 * wave,
    pressure: 1013 + 2 * wave,
    co2: 420 + (seq % 300),
    voltage: 3.3 + wave / 10,
    current: 0.5 + (seq % 7) / 100,
  });
}
