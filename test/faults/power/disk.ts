import type { DiskOperation } from "./op-log.ts";

const sectorBytes = 512;

type Change = { readonly sequence: number } & (
  | { readonly kind: "write"; readonly offset: number; readonly data: Buffer }
  | { readonly kind: "truncate"; readonly length: number }
);

type Naming = { readonly sequence: number; readonly folder: string } & (
  | { readonly kind: "create"; readonly path: string; readonly file: number }
  | { readonly kind: "rename"; readonly from: string; readonly to: string }
  | { readonly kind: "unlink"; readonly path: string }
);

/** Bytes of a file that may grow. */
class Content {
  #bytes: Buffer;
  #length: number;

  constructor(bytes: Uint8Array = Buffer.alloc(0)) {
    this.#bytes = Buffer.from(bytes);
    this.#length = bytes.length;
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  apply(change: Change): void {
    if (change.kind === "truncate") this.resize(change.length);
    else this.write(change.offset, change.data);
  }

  write(offset: number, data: Uint8Array): void {
    if (offset + data.length > this.#length) this.resize(offset + data.length);
    this.#bytes.set(data, offset);
  }

  resize(length: number): void {
    if (length > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(length, this.#bytes.length * 2));
      larger.set(this.bytes);
      this.#bytes = larger;
    }
    // What lies behind a shorter end is gone, and reads as zeros when the file grows again.
    if (length < this.#length) this.#bytes.fill(0, length, this.#length);
    this.#length = length;
  }
}

interface File {
  /** What a power cut cannot take any more. */
  readonly durable: Content;
  /** What the process sees. */
  readonly seen: Content;
  pending: Change[];
}

/**
 * What a disk may hold after a power cut, by the rules of POSIX and no kinder: a sync of a file makes its bytes
 * durable, a sync of a folder its names, and nothing else is promised. Of the rest survive any sectors of the
 * writes, and the first of the names, creations, renames, removals and truncations, in their order.
 */
export class Disk {
  readonly #files = new Map<number, File>();
  #durableNames = new Map<string, number>();
  #seenNames = new Map<string, number>();
  #pendingNames: Naming[] = [];
  readonly #folders = new Map<number, string>();

  /** `base`: what stood there, durable, when the log began, by path. */
  constructor(base: ReadonlyMap<string, Uint8Array>) {
    let number = -1;
    for (const [path, bytes] of base) {
      // Negative, so that they cannot clash with numbers of the log; an `open` gives them theirs.
      this.#files.set(number, { durable: new Content(bytes), seen: new Content(bytes), pending: [] });
      this.#durableNames.set(path, number);
      this.#seenNames.set(path, number);
      number--;
    }
  }

  apply(operation: DiskOperation): void {
    const { sequence, kind } = operation;
    switch (kind) {
      case "open":
        this.#open(operation);
        break;
      case "write": {
        const { offset, data } = operation;
        this.#change(operation.file, { kind, sequence, offset, data });
        break;
      }
      case "truncate":
        this.#change(operation.file, { kind, sequence, length: operation.length });
        break;
      case "rename": {
        const { from, to } = operation;
        this.#name({ kind, sequence, folder: folderOf(to || from), from, to });
        break;
      }
      case "unlink":
        this.#name({ kind, sequence, folder: folderOf(operation.path), path: operation.path });
        break;
      case "syncBegin":
        break;
      case "syncEnd":
        this.#synced(operation.file, operation.begun);
        break;
      default:
        operation satisfies never;
    }
  }

  /** All files as the process sees them, by path. */
  seen(): Map<string, Buffer> {
    return new Map([...this.#seenNames].map(([path, file]) => [path, this.#file(file).seen.bytes]));
  }

  /** All files as the process would see them after more operations, by path. */
  seenAfter(operations: readonly DiskOperation[]): Map<string, Buffer> {
    const ahead = new Disk(this.seen());
    for (const [path, file] of this.#seenNames) ahead.#renumber(path, file);
    for (const operation of operations) ahead.apply(operation);
    return ahead.seen();
  }

  /** One of the many things the disk may hold when the power goes now, by path. */
  cut(random: () => number): Map<string, Buffer> {
    // Truncations and names stand in one row, of which a random beginning survives.
    const metadata = [
      ...this.#pendingNames.map(({ sequence }) => sequence),
      ...[...this.#files.values()].flatMap(({ pending }) =>
        pending.filter(({ kind }) => kind === "truncate").map(({ sequence }) => sequence),
      ),
    ].sort((a, b) => a - b);
    const survivors = Math.floor(random() * (metadata.length + 1));
    const until = survivors === 0 ? Number.NEGATIVE_INFINITY : (metadata[survivors - 1] ?? 0);
    const names = new Map(this.#durableNames);
    for (const naming of this.#pendingNames) {
      if (naming.sequence <= until) rename(names, naming);
    }
    const disk = new Map<string, Buffer>();
    for (const [path, file] of names) disk.set(path, this.#survivor(this.#file(file), until, random));
    return disk;
  }

  #open({ sequence, file, path, created, truncated, folder }: DiskOperation & { kind: "open" }): void {
    if (folder) {
      this.#folders.set(file, path);
      return;
    }
    if (created) this.#name({ kind: "create", sequence, folder: folderOf(path), path, file });
    this.#renumber(path, file);
    if (truncated) this.#change(file, { kind: "truncate", sequence, length: 0 });
  }

  #survivor(file: File, until: number, random: () => number): Buffer {
    if (file.pending.length === 0) return file.durable.bytes;
    const content = new Content(file.durable.bytes);
    // How much of what was not synced gets through differs from cut to cut: nothing and all are among it.
    const share = [0, 1, random(), random()][Math.floor(random() * 4)] ?? 0;
    for (const change of file.pending) {
      if (change.kind === "truncate") {
        if (change.sequence <= until) content.apply(change);
        continue;
      }
      const { offset, data } = change;
      for (let at = 0; at < data.length; ) {
        const end = Math.min(data.length, at + sectorBytes - ((offset + at) % sectorBytes));
        if (random() < share) content.write(offset + at, data.subarray(at, end));
        at = end;
      }
    }
    // The length may be on the disk before the bytes are.
    const { length } = file.seen.bytes;
    if (length > content.bytes.length && random() < 0.3) content.resize(length);
    return content.bytes;
  }

  #synced(number: number, begun: number): void {
    const folder = this.#folders.get(number);
    if (folder !== undefined) {
      const done = (naming: Naming) => naming.sequence < begun && naming.folder === folder;
      for (const naming of this.#pendingNames.filter(done)) rename(this.#durableNames, naming);
      this.#pendingNames = this.#pendingNames.filter((naming) => !done(naming));
      return;
    }
    const file = this.#file(number);
    for (const change of file.pending) if (change.sequence < begun) file.durable.apply(change);
    file.pending = file.pending.filter(({ sequence }) => sequence >= begun);
  }

  #change(number: number, change: Change): void {
    const file = this.#file(number);
    file.seen.apply(change);
    file.pending.push(change);
  }

  #name(naming: Naming): void {
    if (naming.kind === "create") {
      this.#files.set(naming.file, { durable: new Content(), seen: new Content(), pending: [] });
    }
    rename(this.#seenNames, naming);
    this.#pendingNames.push(naming);
  }

  /** A file of the base gets the number that the log knows it by. */
  #renumber(path: string, file: number): void {
    const known = this.#seenNames.get(path);
    if (known === undefined || known === file) return;
    const content = this.#file(known);
    this.#files.delete(known);
    this.#files.set(file, content);
    for (const names of [this.#seenNames, this.#durableNames]) {
      for (const [name, number] of names) if (number === known) names.set(name, file);
    }
  }

  #file(number: number): File {
    const file = this.#files.get(number);
    if (!file) throw new Error(`the log of the shim uses file ${number} before it opens it`);
    return file;
  }
}

function rename(names: Map<string, number>, naming: Naming): void {
  if (naming.kind === "create") {
    names.set(naming.path, naming.file);
    return;
  }
  if (naming.kind === "unlink") {
    names.delete(naming.path);
    return;
  }
  const file = names.get(naming.from);
  names.delete(naming.from);
  // Where the old name never became durable, there is nothing to move: a disk that lost both.
  if (file !== undefined && naming.to !== "") names.set(naming.to, file);
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
