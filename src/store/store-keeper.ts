import { existsSync, mkdirSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { storeError } from "../core/database.ts";
import { renameDurably } from "../core/durable-file.ts";
import { InvariantError, messageOf, PermanentError, TransientError } from "../core/errors.ts";
import type { DeadLetter } from "../outbox/dead-letters.ts";
import type { Done } from "../outbox/message-body.ts";
import type { OutboxMessage } from "../outbox/outbox.ts";
import type { TakenText } from "../sentiment/text-stage.ts";
import { adoptFallbacks, fallbackFile, setAside } from "./adoption.ts";
import type { Commit, Opened, StoreSettings, StoreStatus } from "./contract.ts";
import { LedgerCopy } from "./ledger-copy.ts";
import { Reserve } from "./reserve.ts";
import { finishSalvage, salvage } from "./salvage.ts";
import { Store, storeFile } from "./store.ts";
import { walDamage } from "./wal.ts";
import { Witness } from "./witness.ts";

/**
 * Keeps a store open whatever happens to its disk: opens it again after a failure, when it is used next, and makes a
 * new one of what can be read when it is damaged. What it cannot mend it throws as TransientError, to be tried again.
 */
export class StoreKeeper {
  readonly #folder: string;
  #settings: StoreSettings;
  readonly #onOpened: (opened: Opened) => void;
  readonly #wallMs: () => number;
  #store: Store | undefined;
  #file = storeFile;
  /** Device and inode of the open file: it may vanish, or its disk may. */
  #inode: string | undefined;
  #wasOpen = false;
  /** Opened again without what it had been told: whoever commits has to tell it first. */
  #isForgetful = false;
  #device: number | undefined;

  /** `onOpened` is called each time the store was opened, the first time and every other. */
  constructor(
    folder: string,
    settings: StoreSettings,
    onOpened: (opened: Opened) => void,
    wallMs: () => number = Date.now,
  ) {
    this.#folder = folder;
    this.#settings = settings;
    this.#onOpened = onOpened;
    this.#wallMs = wallMs;
  }

  /** @throws TransientError when the store cannot be opened now */
  open(): void {
    if (this.#store) return;
    try {
      this.#stayOnDisk();
      try {
        this.#tryToOpen();
      } catch (error) {
        // The full disk may be what is in the way: what is kept for that is given up.
        if (!new Reserve(this.#folder, this.#file, 0).release()) throw error;
        this.#tryToOpen();
      }
    } catch (error) {
      this.#drop();
      throw transient(storeError(`opening the store in ${this.#folder}`, error));
    }
  }

  #tryToOpen(): void {
    finishSalvage(this.#folder);
    this.#mendBeforeOpening();
    this.#openMending();
  }

  configure(settings: StoreSettings): void {
    this.#settings = settings;
    this.#store?.configure(settings);
  }

  /** @throws TransientError; nothing of the batch happened then */
  commit(commit: Commit): StoreStatus {
    return this.#use((store) => store.commit(commit));
  }

  /** Behind commits; what does not succeed is done behind one of the next. */
  tidy(): void {
    try {
      this.#store?.tidy();
    } catch {
      // A disk that is full or gone tells the commit that meets it.
    }
  }

  /** As of the last commit; undefined while no store is open. */
  get status(): StoreStatus | undefined {
    return this.#store?.isBroken ? undefined : this.#store?.status();
  }

  next(done: Done, isBackfillWanted?: boolean): OutboxMessage | undefined {
    return this.#use((store) => store.next(done, isBackfillWanted));
  }

  deadLetters(): DeadLetter[] {
    return this.#use((store) => store.deadLetters());
  }

  texts(after: number): TakenText[] {
    return this.#use((store) => store.texts(after));
  }

  audit(): StoreStatus["books"] {
    return this.#use((store) => store.audit());
  }

  close(): void {
    this.#drop();
  }

  #use<T>(work: (store: Store) => T): T {
    try {
      if (this.#store && this.#inode !== inodeOf(join(this.#folder, this.#file))) this.#rescue(this.#store);
      this.open();
      const store = this.#store;
      if (!store) throw new InvariantError("the store is closed after it was opened");
      if (this.#isForgetful) {
        this.#isForgetful = false;
        throw new TransientError(
          "STORE_UNUSABLE",
          "the store was made anew, and has to be told what is configured",
        );
      }
      return work(store);
    } catch (cause) {
      const error = storeError("using the store", cause);
      if (isCorrupt(error)) this.#mend(error);
      // Doing more on memory that went ahead of the disk would make it true.
      if (this.#store?.isBroken) this.#drop();
      throw transient(error);
    }
  }

  /** The file was deleted, or another lies in its place. As long as it is open, all of it is still there. */
  #rescue(store: Store): void {
    const path = join(this.#folder, this.#file);
    try {
      this.#stayOnDisk();
      mkdirSync(this.#folder, { recursive: true, mode: 0o750 });
      rmSync(`${path}.tmp`, { force: true });
      store.copyTo(`${path}.tmp`);
      renameDurably(`${path}.tmp`, `${path}.new`);
    } catch (error) {
      // Its disk is gone, or has no room: what the open file holds stays there until that is over.
      throw storeError(`the store's file ${path} is gone`, error);
    }
    this.#drop();
  }

  /**
   * A disk that is unmounted leaves its folder behind, empty, on another disk: a new store there would fill that one,
   * and hide the old.
   */
  #stayOnDisk(): void {
    const device = deviceOf(this.#folder);
    this.#device ??= device;
    if (device !== this.#device)
      throw new TransientError("STORE_UNUSABLE", `the disk that held ${this.#folder} is gone`);
  }

  /** What SQLite would take for an empty store, or for an older one, without a word. */
  #mendBeforeOpening(): void {
    const path = join(this.#folder, storeFile);
    const hasHistory =
      new LedgerCopy(this.#folder, storeFile).exists || new Witness(this.#folder, storeFile).exists;
    const isEmpty = !existsSync(path) || statSync(path).size === 0;
    if (isEmpty && (hasHistory || existsSync(`${path}-wal`))) {
      const reason = existsSync(path) ? "the store's file is empty" : "the store's file is missing";
      this.#salvage(reason, false);
      return;
    }
    const reason = walDamage(`${path}-wal`);
    if (reason !== undefined) this.#salvage(reason, true);
  }

  #openMending(): void {
    try {
      this.#openFile(storeFile);
    } catch (error) {
      if (error instanceof PermanentError && error.code === "STORE_NEWER") {
        // The newer version will want its store as it was: this one keeps to a file of its own.
        this.#openFile(fallbackFile);
        return;
      }
      if (!isCorrupt(error)) throw error;
      this.#mend(error);
      this.#openFile(storeFile);
      return;
    }
  }

  #openFile(file: string): void {
    const store = new Store(this.#folder, this.#settings, file);
    try {
      const opened = store.open(!this.#wasOpen);
      this.#refuseOutOfDate(file, opened.status);
      if (file === storeFile) adoptFallbacks(this.#folder, this.#settings, store);
      this.#store = store;
      this.#isForgetful = this.#wasOpen && opened.configHash === undefined;
      this.#wasOpen = true;
      this.#file = file;
      this.#inode = inodeOf(join(this.#folder, file));
      this.#onOpened({ ...opened, status: store.status(), isFallback: file !== storeFile });
    } catch (error) {
      store.close();
      throw error;
    }
  }

  /** @throws OutOfDate */
  #refuseOutOfDate(file: string, { storeId, position }: StoreStatus): void {
    const copy = new LedgerCopy(this.#folder, file).read();
    const copied = copy?.storeId === storeId ? copy.position : 0;
    const last = Math.max(copied, new Witness(this.#folder, file).read(storeId) ?? 0);
    if (last > position)
      throw new OutOfDate(`the store ends at position ${position}, and had come to ${last}`);
  }

  #mend(error: unknown): void {
    this.#drop();
    if (this.#file === storeFile) this.#salvage(messageOf(error), error instanceof OutOfDate);
    else setAside(this.#folder, this.#file);
  }

  #salvage(reason: string, isOutOfDate: boolean): void {
    salvage(this.#folder, { reason, isOutOfDate }, this.#wallMs());
  }

  #drop(): void {
    const store = this.#store;
    this.#store = undefined;
    store?.close();
  }
}

/** The store is whole, and commits are missing at its end. */
class OutOfDate extends PermanentError {
  constructor(message: string) {
    super("STORE_CORRUPT", message);
  }
}

const isCorrupt = (error: unknown): boolean =>
  error instanceof PermanentError && error.code === "STORE_CORRUPT";

/** For the main thread every trouble of the store is one that may pass; only bugs are not. */
function transient(error: unknown): unknown {
  if (!(error instanceof PermanentError)) return error;
  return new TransientError(error.code, error.message, { cause: error });
}

/** Device of a folder, or of the nearest one above it that exists. */
function deviceOf(folder: string): number {
  for (let at = resolve(folder); ; at = dirname(at)) {
    const stat = statSync(at, { throwIfNoEntry: false });
    if (stat) return stat.dev;
  }
}

function inodeOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat && `${stat.dev} ${stat.ino}`;
}
