import { closeSync, copyFileSync, fstatSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkConfig, pipelineConfig } from "../../../src/config/check.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { BatchWriter } from "../../../src/journal/batch.ts";
import { Store } from "../../../src/store/store.ts";
import type { ArrivedEntry } from "../../kill/arrived.ts";
import { composing } from "../../support/composing.ts";
import { readStore } from "../kept-journal.ts";
import type { daemonConfig } from "../shared-config.ts";

type Config = ReturnType<typeof daemonConfig>;

const firstSchema = fileURLToPath(new URL("../../store/fixtures/store-1.db", import.meta.url));

/** A store of the first schema, which has to be migrated. */
export function fixture(folder: string): ArrivedEntry[] {
  mkdirSync(join(folder, "store"), { recursive: true });
  const path = join(folder, "store", "headgate.db");
  copyFileSync(firstSchema, path);
  return entriesIn(path);
}

/** A store in which so many entries wait, each of one reading. */
export function prefilled(folder: string, config: Config, entries: number): ArrivedEntry[] {
  const checked = checkConfig(config as unknown as JsonObject);
  // Whatever is too much for the daemon is not for this one.
  const settings = { ...checked.config.store, maxBytes: 1_000_000_000, retention: {} };
  const store = new Store(join(folder, "store"), settings);
  const { maxDelayMs, maxMessageBytes, output } = checked.config.publish;
  const compose = { ...composing, maxDelayMs, maxMessageBytes, output };
  const startMs = Math.floor(Date.now() / 1_000) * 1_000 - entries * 1_000 - 10_000;
  const writer = new BatchWriter();
  store.open();
  writer.rare({ type: "configuration", wallMs: startMs, config: pipelineConfig(checked) });
  for (let entry = 0; entry < entries; entry++) {
    const t = startMs + entry * 1_000;
    const line = JSON.stringify({ id: "oven-1", t, seq: entry, temperature: entry % 70 });
    writer.frame("oven", t, t, Buffer.from(line));
    if (entry % 100 !== 99) continue;
    writer.tick(t, t);
    const nothing = { acknowledged: [], rejected: [] };
    store.commit({ batch: writer.take(), ...nothing, compose, nowMs: t, monotonicMs: t });
  }
  store.close();
  return entriesIn(join(folder, "store", "headgate.db"));
}

/** Overwrites some sectors behind the first page, the schema's, with noise. */
export function damage(folder: string, random: () => number): void {
  const file = openSync(join(folder, "headgate.db"), "r+");
  try {
    const sectors = Math.floor(fstatSync(file).size / 512);
    for (let times = 1 + Math.floor(random() * 4); times > 0; times--) {
      const sector = 8 + Math.floor(random() * (sectors - 8));
      const noise = Buffer.from(Array.from({ length: 512 }, () => Math.floor(random() * 256)));
      writeSync(file, noise, 0, noise.length, sector * 512);
    }
  } finally {
    closeSync(file);
  }
}

function entriesIn(path: string): ArrivedEntry[] {
  return readStore(path).waiting.map((body) => JSON.parse(body) as ArrivedEntry);
}
