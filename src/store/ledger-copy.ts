import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { writeDurably } from "../core/durable-file.ts";
import { isObject } from "../core/json.ts";
import { parseState, type State } from "./state.ts";

/** A second file for the state, written behind snapshots: when the store's own copy is damaged, something knows. */
export class LedgerCopy {
  readonly #path: string;

  /** `file`: name of the store's file. */
  constructor(folder: string, file: string) {
    this.#path = join(folder, `${file}.ledger`);
  }

  get exists(): boolean {
    return existsSync(this.#path);
  }

  /** A disk that does not take it costs the copy's freshness and nothing else: a later snapshot writes it again. */
  write(state: State): string | undefined {
    const text = JSON.stringify(state);
    try {
      writeDurably(this.#path, JSON.stringify({ checksum: crc32(text), text }));
      return undefined;
    } catch (error) {
      return String(error);
    }
  }

  /** Undefined when there is none, or none that can be believed. */
  read(): State | undefined {
    try {
      const file: unknown = JSON.parse(readFileSync(this.#path, "utf8"));
      if (!isObject(file) || typeof file.text !== "string" || crc32(file.text) !== file.checksum)
        return undefined;
      return parseState(file.text);
    } catch {
      // Missing or torn: the caller goes on without it.
      return undefined;
    }
  }
}
