import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { writeDurably } from "../core/durable-file.ts";
import { isObject } from "../core/json.ts";
import type { State } from "./state.ts";

/** The books as they stood a while ago, beside the store: what a damaged store is held against. */
export interface CopiedState {
  readonly storeId: string;
  readonly state: State;
}

/** A second file for the state, written with each snapshot: when the store's own copy is damaged, something knows. */
export class LedgerCopy {
  readonly #path: string;

  constructor(folder: string) {
    this.#path = join(folder, "ledger.json");
  }

  get exists(): boolean {
    return existsSync(this.#path);
  }

  /** A disk that does not take it costs the copy's freshness and nothing else: the next snapshot writes it again. */
  write(storeId: string, state: State): string | undefined {
    const text = JSON.stringify({ storeId, state });
    try {
      writeDurably(this.#path, JSON.stringify({ checksum: crc32(text), text }));
      return undefined;
    } catch (error) {
      return String(error);
    }
  }

  /** Undefined when there is none, or none that can be believed. */
  read(): CopiedState | undefined {
    try {
      const file: unknown = JSON.parse(readFileSync(this.#path, "utf8"));
      if (!isObject(file) || typeof file.text !== "string" || crc32(file.text) !== file.checksum)
        return undefined;
      return JSON.parse(file.text) as CopiedState;
    } catch {
      // Missing or torn: the caller goes on without it.
      return undefined;
    }
  }
}
