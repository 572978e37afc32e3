import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { renameDurably } from "../core/durable-file.ts";
import { hasCode, messageOf, PermanentError, TransientError } from "../core/errors.ts";

/** Where a model is, and what it must be. */
export interface ModelPlace {
  readonly file?: string | undefined;
  readonly url?: string | undefined;
  readonly sha256?: string | undefined;
  readonly maxBytes: number;
  readonly fetchTimeoutMs: number;
}

export interface ModelFile {
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** A download that brings nothing for so long is given up. */
const stalledMs = 60_000;

/**
 * The file of a model, fetched first when it is at a URL and not in `folder` yet.
 * @throws TransientError MODEL_UNAVAILABLE when it is not there now; PermanentError MODEL_REFUSED when it is another
 */
export async function findModel(place: ModelPlace, folder: string, signal: AbortSignal): Promise<ModelFile> {
  if (place.url === undefined || place.sha256 === undefined)
    return await checked(place.file ?? "", place, signal);
  const path = fetchedPath(folder, place.sha256);
  const isThere = await stat(path).then(
    () => true,
    () => false,
  );
  if (isThere) {
    try {
      return await checked(path, place, signal);
    } catch (error) {
      // A file that another hash comes of was damaged on the disk: it is fetched again.
      if (!(error instanceof PermanentError)) throw error;
    }
  }
  return await fetched(place.url, path, place, signal);
}

const fetchedPath = (folder: string, sha256: string) => join(folder, `${sha256}.onnx`);

/** Deletes fetched models that nobody names any more; with `broken`, what downloads of an earlier process left as well. */
export async function pruneModels(
  folder: string,
  wanted: readonly string[],
  broken: "keepBroken" | "broken" = "keepBroken",
): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    // Nothing was fetched yet.
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  });
  const kept = new Set(wanted.map((sha256) => `${sha256}.onnx`));
  const isGone = (name: string) =>
    (/^[0-9a-f]{64}\.onnx$/.test(name) && !kept.has(name)) || (broken === "broken" && name.endsWith(".part"));
  await Promise.all(names.filter(isGone).map((name) => rm(join(folder, name), { force: true })));
}

async function checked(path: string, place: ModelPlace, signal: AbortSignal): Promise<ModelFile> {
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    const found = await stat(path);
    // A pipe would keep whoever opens it waiting, and a device never ends.
    if (!found.isFile()) throw new PermanentError("MODEL_REFUSED", `${path} is no file`);
    if (found.size > place.maxBytes) {
      const message = `${path} has ${found.size} bytes, and maxBytes is ${place.maxBytes}`;
      throw new PermanentError("MODEL_REFUSED", message);
    }
    for await (const chunk of createReadStream(path, { signal, highWaterMark: 262_144 })) {
      hash.update(chunk as Buffer);
      bytes += (chunk as Buffer).length;
      // Files of the kernel tell no size, and may have no end.
      if (bytes > place.maxBytes)
        throw new PermanentError("MODEL_REFUSED", `${path} has more bytes than maxBytes, ${place.maxBytes}`);
    }
  } catch (error) {
    if (error instanceof PermanentError || signal.aborted) throw error;
    throw new TransientError("MODEL_UNAVAILABLE", `reading ${path}: ${messageOf(error)}`, { cause: error });
  }
  const sha256 = hash.digest("hex");
  if (place.sha256 !== undefined && sha256 !== place.sha256) {
    const message = `${path} has the SHA-256 ${sha256}, and ${place.sha256} is configured`;
    throw new PermanentError("MODEL_REFUSED", message);
  }
  return { path, sha256, bytes };
}

/** Fetches into a file beside the place, and puts it there when it is whole, right and on the disk. */
async function fetched(
  url: string,
  path: string,
  place: ModelPlace,
  signal: AbortSignal,
): Promise<ModelFile> {
  // Two models may be one file, and be fetched at a time.
  const partial = `${path}.${randomUUID()}.part`;
  const stop = new AbortController();
  const deadline = AbortSignal.any([signal, stop.signal, AbortSignal.timeout(place.fetchTimeoutMs)]);
  try {
    await mkdir(join(path, ".."), { recursive: true, mode: 0o750 });
    const response = await fetch(url, { signal: deadline });
    if (!response.ok || !response.body) throw new Error(`it answers ${response.status}`);
    const { sha256, bytes } = await written(response.body, partial, place.maxBytes, stop);
    if (sha256 !== place.sha256) {
      const message = `${url} brings a file of SHA-256 ${sha256}, and ${place.sha256} is configured`;
      throw new PermanentError("MODEL_REFUSED", message);
    }
    renameDurably(partial, path);
    return { path, sha256, bytes };
  } catch (error) {
    // Of an answer that is an error nobody reads the body, and its connection would stay.
    stop.abort();
    await rm(partial, { force: true });
    if (error instanceof PermanentError || signal.aborted) throw error;
    const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : "";
    throw new TransientError("MODEL_UNAVAILABLE", `fetching ${url}: ${messageOf(error)}${cause}`, {
      cause: error,
    });
  }
}

async function written(
  body: ReadableStream<Uint8Array>,
  partial: string,
  maxBytes: number,
  stop: AbortController,
): Promise<Omit<ModelFile, "path">> {
  const hash = createHash("sha256");
  const file = await open(partial, "w", 0o640);
  let bytes = 0;
  let watch = new AbortController();
  try {
    const stalls = () => {
      watch.abort();
      watch = new AbortController();
      delay(stalledMs, undefined, { signal: watch.signal, ref: false }).then(
        () => stop.abort(new Error(`nothing came for ${stalledMs / 1_000} s`)),
        // Something came in time.
        () => undefined,
      );
    };
    stalls();
    for await (const chunk of body) {
      stalls();
      bytes += chunk.length;
      if (bytes > maxBytes)
        throw new PermanentError("MODEL_REFUSED", `the file has more bytes than maxBytes, ${maxBytes}`);
      hash.update(chunk);
      await file.writeFile(chunk);
    }
    await file.sync();
  } finally {
    watch.abort();
    await file.close();
  }
  return { sha256: hash.digest("hex"), bytes };
}
