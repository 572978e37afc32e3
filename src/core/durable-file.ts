import { closeSync, fsyncSync, openSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Writes a file so that a power cut leaves the old or the new one whole. Throws what the system says. */
export function writeDurably(path: string, text: string): void {
  const temporary = `${path}.new`;
  const handle = openSync(temporary, "w", 0o640);
  try {
    writeFileSync(handle, text);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameDurably(temporary, path);
}

/** Renames within one folder; when it returns, a power cut does not undo it. */
export function renameDurably(from: string, to: string): void {
  renameSync(from, to);
  const folder = openSync(dirname(to), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
