import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { StoreSettings } from "./contract.ts";
import { schemaVersion } from "./schema.ts";
import { Store } from "./store.ts";

/** Where a program keeps to that finds the store of a newer one: that one will want it as it was. */
export const fallbackFile = `headgate-schema-${schemaVersion}.db`;

/**
 * Takes over what an older program gathered while it stood in for this one: its open windows are closed as they stand,
 * its entries and books go into the store.
 */
export function adoptFallbacks(folder: string, settings: StoreSettings, store: Store): void {
  for (const file of readdirSync(folder)) {
    const version = /^headgate-schema-(\d+)\.db$/.exec(file)?.[1];
    if (version === undefined || Number(version) > schemaVersion) continue;
    const older = new Store(folder, settings, file);
    try {
      older.open();
      store.adopt(older.retire());
    } finally {
      older.close();
    }
    // In the store by now, and known there by its id: a kill in between adopts nothing twice.
    for (const ending of ["", "-wal", ".ledger", ".position", ".reserve"])
      rmSync(join(folder, `${file}${ending}`), { force: true });
  }
}
