/** One operation on the disk, as `shim.c` recorded it, in the order in which they took effect. */
export type DiskOperation = {
  readonly sequence: number;
  /** CLOCK_MONOTONIC, the time of `process.hrtime` of every process on this machine. */
  readonly monotonicMs: number;
} & (
  | {
      readonly kind: "open";
      readonly file: number;
      readonly path: string;
      readonly created: boolean;
      readonly truncated: boolean;
      readonly folder: boolean;
    }
  | { readonly kind: "write"; readonly file: number; readonly offset: number; readonly data: Buffer }
  | { readonly kind: "syncBegin"; readonly file: number }
  /** What the file had before the operation `begun` is durable from here on. */
  | { readonly kind: "syncEnd"; readonly file: number; readonly begun: number }
  | { readonly kind: "truncate"; readonly file: number; readonly length: number }
  /** An empty path is outside the watched folder. */
  | { readonly kind: "rename"; readonly from: string; readonly to: string }
  | { readonly kind: "unlink"; readonly path: string }
);

const headerBytes = 40;

/** The log of one process. A record that the process did not live to finish is left out. */
export function readOperations(log: Buffer): DiskOperation[] {
  const operations: DiskOperation[] = [];
  for (let at = 0; at + headerBytes <= log.length; ) {
    const length = log.readUInt32LE(at + 32);
    const end = at + headerBytes + length;
    if (end > log.length) break;
    const payload = log.subarray(at + headerBytes, end);
    operations.push(operation(log.subarray(at, at + headerBytes), payload));
    at = end;
  }
  return operations;
}

function operation(header: Buffer, payload: Buffer): DiskOperation {
  const file = header.readUInt32LE(4);
  const offset = Number(header.readBigUInt64LE(24));
  const flags = header.readUInt32LE(36);
  const when = {
    sequence: Number(header.readBigUInt64LE(8)),
    monotonicMs: Number(header.readBigUInt64LE(16)) / 1e6,
  };
  const kind = header.readUInt32LE(0);
  switch (kind) {
    case 1: {
      const [created, truncated, folder] = [1, 2, 4].map((bit) => (flags & bit) !== 0) as [
        boolean,
        boolean,
        boolean,
      ];
      return { ...when, kind: "open", file, path: payload.toString(), created, truncated, folder };
    }
    case 2:
      return { ...when, kind: "write", file, offset, data: payload };
    case 3:
      return { ...when, kind: "syncBegin", file };
    case 4:
      return { ...when, kind: "syncEnd", file, begun: offset };
    case 5:
      return { ...when, kind: "truncate", file, length: offset };
    case 6: {
      const [from = "", to = ""] = payload.toString().split("\0");
      return { ...when, kind: "rename", from, to };
    }
    case 7:
      return { ...when, kind: "unlink", path: payload.toString() };
    default:
      throw new Error(`the log of the shim has a record of unknown kind ${kind}`);
  }
}
