import type { IncomingMessage } from "node:http";
import type { Config } from "../config/schema.ts";
import { messageOf } from "../core/errors.ts";
import { clientFor, responseOf } from "../core/http.ts";
import type { Logger } from "../core/logger.ts";
import type { KeptPictures } from "./kept-pictures.ts";

/** What became of a picture that was to be uploaded. */
export type Uploaded =
  | { readonly kind: "uploaded"; readonly bytes: number; readonly etag: string | undefined }
  /** Nothing was sent. */
  | { readonly kind: "badUrl" | "forbidden" | "unknownPicture" | "busy"; readonly message: string }
  /** It is not there; */
  | { readonly kind: "refused" | "unreachable"; readonly message: string }
  /** or nobody knows. */
  | { readonly kind: "late"; readonly message: string };

export type UploadCounts = Readonly<Record<Uploaded["kind"], number>>;

/** Hosts for tries, to which nothing leaves the box. */
const loopback = /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])$/;

/** Puts kept pictures where somebody asks for them, if the local configuration lets them go there. */
export class PictureUploads {
  readonly #kept: Pick<KeptPictures, "read">;
  readonly #sources: () => Config["sources"];
  readonly #deadlineMs: number;
  readonly #log: Logger;
  readonly #counts: Record<Uploaded["kind"], number> = {
    uploaded: 0,
    badUrl: 0,
    forbidden: 0,
    unknownPicture: 0,
    busy: 0,
    refused: 0,
    unreachable: 0,
    late: 0,
  };
  #isBusy = false;

  constructor(
    kept: Pick<KeptPictures, "read">,
    sources: () => Config["sources"],
    deadlineMs: number,
    log: Logger,
  ) {
    this.#kept = kept;
    this.#sources = sources;
    this.#deadlineMs = deadlineMs;
    this.#log = log;
  }

  /** Since the start. */
  get counts(): UploadCounts {
    return this.#counts;
  }

  /** @throws what the system says of the picture's file */
  async upload(source: string, picture: string, to: string): Promise<Uploaded> {
    const url = URL.parse(to);
    const uploaded: Uploaded = url
      ? (this.#problem(source, url) ?? (await this.#one(source, picture, url)))
      : { kind: "badUrl", message: "the url is none" };
    this.#counts[uploaded.kind]++;
    const level = uploaded.kind === "uploaded" ? "info" : "warn";
    // Without path and query: who has them may write there.
    this.#log[level]({ source, picture, host: url?.host, ...uploaded }, "a picture was to be uploaded");
    return uploaded;
  }

  #problem(source: string, url: URL): Uploaded | undefined {
    if (url.username !== "" || url.password !== "")
      return { kind: "badUrl", message: "the url holds a password" };
    if (url.protocol !== "https:" && !(url.protocol === "http:" && loopback.test(url.hostname)))
      return { kind: "badUrl", message: "the url must be https://, or http:// to this box" };
    const sources = this.#sources();
    const config = Object.hasOwn(sources, source) ? sources[source] : undefined;
    const hosts = config && "upload" in config ? (config.upload?.hosts ?? []) : [];
    if (hosts.includes(url.host)) return undefined;
    const message = `no picture of ${source} may go to ${url.host}: its upload.hosts does not name it`;
    return { kind: "forbidden", message };
  }

  async #one(source: string, name: string, url: URL): Promise<Uploaded> {
    // Each holds a picture in memory.
    if (this.#isBusy) return { kind: "busy", message: "another picture is being uploaded" };
    this.#isBusy = true;
    try {
      const picture = await this.#kept.read(source, name);
      if (!picture) return { kind: "unknownPicture", message: `no picture ${name} of ${source} is kept` };
      return await this.#put(picture, url);
    } finally {
      this.#isBusy = false;
    }
  }

  async #put(
    { bytes, type }: { readonly bytes: Uint8Array; readonly type: string },
    url: URL,
  ): Promise<Uploaded> {
    const signal = AbortSignal.timeout(this.#deadlineMs);
    try {
      const { statusCode = 0, headers } = await put(url, bytes, type, signal);
      if (statusCode >= 200 && statusCode < 300)
        return { kind: "uploaded", bytes: bytes.length, etag: headers.etag };
      const code = headers["x-ms-error-code"];
      const message = `${url.host} answers ${statusCode}${code === undefined ? "" : ` (${code})`}`;
      return { kind: "refused", message };
    } catch (error) {
      if (signal.aborted)
        return { kind: "late", message: `no answer within ${this.#deadlineMs} ms; it may be there, or not` };
      return { kind: "unreachable", message: `${url.host}: ${messageOf(error)}` };
    }
  }
}

/** A blob in one piece: "Put Blob" (learn.microsoft.com/rest/api/storageservices/put-blob); a redirect is an answer. */
async function put(url: URL, bytes: Uint8Array, type: string, signal: AbortSignal): Promise<IncomingMessage> {
  const headers = { "content-type": type, "content-length": bytes.length, "x-ms-blob-type": "BlockBlob" };
  const options = { method: "PUT", headers, signal, agent: false };
  const response = await responseOf(clientFor(url.href).request(url, options).end(bytes), signal);
  // Nobody reads what it says beyond its head.
  return response.on("error", () => undefined).resume();
}
