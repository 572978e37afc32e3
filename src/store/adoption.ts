import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { PermanentError } from "../core/errors.ts";
import type { StoreSettings } from "./contract.ts";
import { schemaVersion } from "./schema.ts";
import { Store } from "./store.ts";

/** Where a program keeps to that finds the store of a newer one: that one will want it as it was. */
export const fallbackFile = `headgate-schema-${schemaVersion}.db`;

const endings = ["", "-wal", ".ledger", ".position", ".reserve"];

/**
 * Takes over what an older program gathered while it stood in for this one: its open windows are closed as they stand,
 * its entries and books go into the store. One that is damaged is set aside.
 */
export function adoptFallbacks(folder: string, settings: StoreSettings, store: Store): void {
  for (const file of readdirSync(folder)) {
    const version = /^headgate-schema-(\d+)\.db$/.exec(file)?.[1];
    if (version === undefined || Number(version) > schemaVersion) continue;
    try {
      adopt(folder, file, settings, store);
    } catch (error) {
      if (!(error instanceof PermanentError) || error.code !== "STORE_CORRUPT") throw error;
      setAside(folder, file);
    }
  }
}

/** A stand-in that cannot be read: nothing of the store itself is touched for it. */
export function setAside(folder: string, file: string): void {
  for (const ending of endings) {
    const path = join(folder, `${file}${ending}`);
    if (existsSync(path)) renameSync(path, `${path}.damaged`);
  }
}

function adopt(folder: string, file: string, settings: StoreSettings, store: Store): void {
  const older = new Store(folder, settings, file);
  try {
    older.open();
    store.adopt(older.retire());
  } finally {
    older.close();
  }
  // In the store by now, and known there by its id: a kill in between adopts nothing twice.
  for (const ending of endings) rmSync(join(folder, `${file}${ending}`), { force: true });
}
