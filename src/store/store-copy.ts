import { constants, copyFileSync, existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf, TransientError } from "../core/errors.ts";
import { type LedgerReport, ledgerReport } from "../ledger/ledger-report.ts";
import type { StoreSettings } from "./contract.ts";
import { Store } from "./store.ts";

/** The file, and the write-ahead log that a kill left behind. */
const parts = ["headgate.db", "headgate.db-wal"];
const attempts = 5;

/**
 * The books of a store that nobody has open, `held` counted anew from windows and rows. The store is not touched:
 * reading what a kill left behind would merge its write-ahead log, so a copy is opened.
 * @throws TransientError STORE_UNUSABLE without a store there; PermanentError as `Store` does
 */
export function readLedger(folder: string, settings: StoreSettings): LedgerReport {
  if (!existsSync(join(folder, "headgate.db")))
    throw new TransientError("STORE_UNUSABLE", `there is no store in ${folder}`);
  const copy = mkdtempSync(join(tmpdir(), "headgate-ledger-"));
  try {
    copyUnchanged(folder, copy);
    const store = new Store(copy, settings);
    try {
      const { storeId } = store.open();
      return ledgerReport(storeId, store.audit());
    } finally {
      store.close();
    }
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** A gateway that starts meanwhile would write between the two files: then they are copied again. */
function copyUnchanged(from: string, to: string): void {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const before = stateOf(from);
    try {
      for (const part of parts) {
        rmSync(join(to, part), { force: true });
        if (existsSync(join(from, part)))
          copyFileSync(join(from, part), join(to, part), constants.COPYFILE_FICLONE);
      }
    } catch (error) {
      throw new TransientError("STORE_UNUSABLE", `copying ${from} to ${to}: ${messageOf(error)}`, {
        cause: error,
      });
    }
    if (stateOf(from) === before) return;
  }
  throw new TransientError("STORE_UNUSABLE", `${from} is written to, and nobody answers on its socket`);
}

function stateOf(folder: string): string {
  const states = parts.map((part) => {
    const stat = statSync(join(folder, part), { throwIfNoEntry: false });
    return stat ? `${stat.ino} ${stat.size} ${stat.mtimeMs}` : "none";
  });
  return states.join();
}
