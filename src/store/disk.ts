import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  boundLog,
  type Database,
  mergeLog,
  openDatabase,
  type Statement,
  storeError,
} from "../core/database.ts";
import { messageOf, TransientError } from "../core/errors.ts";
import { Journal, pack, unpack } from "../journal/journal.ts";
import { DeadLetters } from "../outbox/dead-letters.ts";
import type { PipelineSnapshot } from "../pipeline-contract.ts";
import { LedgerCopy } from "./ledger-copy.ts";
import { Reserve } from "./reserve.ts";
import { logBytes, mergedLogBytes, reserveBytes } from "./room.ts";
import { prepareSchema, refuseNewer } from "./schema.ts";
import { type State, StateRow } from "./state.ts";
import { Suspects } from "./suspects.ts";
import { Texts } from "./texts.ts";
import { Witness } from "./witness.ts";

/** The books are copied with a snapshot, no more often than this, */
const copySpacingMs = 60_000;
/** and where those are rare, this often. */
const copyEveryMs = 600_000;

/** A large snapshot, as many devices make it, may cost so many bytes for each frame since the last one, */
const snapshotBytesPerFrame = 20;
const largeSnapshotBytes = 65_536;
/** and waits for that up to so many times as long: a start has to replay what came meanwhile. */
const longestWait = 10;

/** The store's open file, table by table, and the small files beside it. */
export class Disk {
  readonly folder: string;
  readonly database: Database;
  readonly storeId: string;
  readonly journal: Journal;
  readonly stateRow: StateRow;
  readonly suspects: Suspects;
  readonly deadLetters: DeadLetters;
  readonly texts: Texts;
  readonly copy: LedgerCopy;
  readonly witness: Witness;
  readonly reserve: Reserve;
  /** Monotonic. */
  #copiedMs: number | undefined;
  #isCopyDue = false;
  #mergedLogBytes = 0;
  /** Compressed, of the last one. */
  #snapshotBytes = 0;
  readonly #writeSnapshot: Statement<[number, number, Uint8Array]>;
  readonly #readSnapshot: Statement<[], { position: number; checksum: number; snapshot: Buffer }>;

  /** @throws PermanentError STORE_BUSY, STORE_NEWER, STORE_CORRUPT; TransientError STORE_UNUSABLE */
  constructor(folder: string, file: string, maxBytes: number) {
    this.folder = folder;
    try {
      mkdirSync(folder, { recursive: true, mode: 0o750 });
    } catch (error) {
      throw new TransientError("STORE_UNUSABLE", `making ${folder}: ${messageOf(error)}`, { cause: error });
    }
    const path = join(folder, file);
    this.copy = new LedgerCopy(folder, file);
    this.witness = new Witness(folder, file);
    this.reserve = new Reserve(folder, file, reserveBytes(maxBytes));
    this.database = openDatabase(path, (mark) => refuseNewer(mark, path));
    try {
      this.bound(maxBytes);
      this.storeId = prepareSchema(this.database, path, this.copy.exists || this.witness.exists);
      this.journal = new Journal(this.database);
      this.stateRow = new StateRow(this.database);
      this.suspects = new Suspects(this.database);
      this.deadLetters = new DeadLetters(this.database);
      this.texts = new Texts(this.database);
      this.#writeSnapshot = this.database.prepare("REPLACE INTO snapshot VALUES (1, ?, ?, ?)");
      this.#readSnapshot = this.database.prepare("SELECT position, checksum, snapshot FROM snapshot");
    } catch (error) {
      this.database.close();
      throw storeError(`opening ${path}`, error);
    }
  }

  bound(maxBytes: number): void {
    this.#mergedLogBytes = mergedLogBytes(maxBytes);
    boundLog(this.database, logBytes(maxBytes));
  }

  /** Behind a commit, beside the file: how far it came, and with the last one the books. */
  noteCommit(
    state: State,
    monotonicMs: number,
    { hasSnapshot, isLast }: { readonly hasSnapshot: boolean; readonly isLast: boolean },
  ): void {
    this.witness.write(this.storeId, state.position);
    const age = Math.abs(monotonicMs - (this.#copiedMs ?? Number.POSITIVE_INFINITY));
    this.#isCopyDue ||= age >= copyEveryMs || (hasSnapshot && age >= copySpacingMs) || isLast;
    if (this.#isCopyDue) this.#copiedMs = monotonicMs;
    if (isLast) this.#copyBooks(state);
  }

  /** What takes syncs of its own: a commit that did it would keep its callers waiting for them. */
  tidy(state: State): void {
    this.#copyBooks(state);
    mergeLog(this.database, this.#mergedLogBytes);
  }

  #copyBooks(state: State): void {
    if (!this.#isCopyDue) return;
    this.#isCopyDue = false;
    this.copy.write(state);
    this.reserve.keep();
  }

  writeSnapshot(position: number, snapshot: PipelineSnapshot): void {
    const { bytes, checksum } = pack(Buffer.from(JSON.stringify(snapshot)));
    this.#writeSnapshot.run(position, checksum, bytes);
    this.#snapshotBytes = bytes.length;
  }

  /** Whether one is due after so many frames. */
  isSnapshotDue(frames: number, every: number): boolean {
    const bytes = this.#snapshotBytes;
    const isDear = bytes > largeSnapshotBytes && bytes > frames * snapshotBytesPerFrame;
    return frames >= (isDear ? longestWait * every : every);
  }

  /** @throws PermanentError STORE_CORRUPT */
  readSnapshot(): { position: number; snapshot: PipelineSnapshot } | undefined {
    const row = this.#readSnapshot.get();
    if (!row) return undefined;
    const plain = unpack(row.snapshot, row.checksum, `snapshot at position ${row.position}`);
    this.#snapshotBytes = row.snapshot.length;
    const snapshot = JSON.parse(Buffer.from(plain).toString("utf8")) as PipelineSnapshot;
    return { position: row.position, snapshot };
  }

  close(): void {
    this.witness.close();
    this.database.close();
  }
}
