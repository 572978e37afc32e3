import { createHash } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";
import type { Pieces } from "./protobuf.ts";

/** Writes a file piece by piece; the digest is that of the whole. */
export function writeModel(
  path: string,
  pieces: Pieces,
): { readonly sha256: string; readonly bytes: number } {
  const hash = createHash("sha256");
  const file = openSync(path, "w");
  let bytes = 0;
  try {
    for (const piece of pieces) {
      hash.update(piece);
      // One call may write less than it is given.
      for (let from = 0; from < piece.length; ) from += writeSync(file, piece, from);
      bytes += piece.length;
    }
  } finally {
    closeSync(file);
  }
  return { sha256: hash.digest("hex"), bytes };
}
