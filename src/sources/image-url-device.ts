import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { imageFrameBytes } from "../config/image-source-schema.ts";
import type { ImageUrlSourceConfig } from "../config/schema.ts";
import { resolveSecret } from "../config/secrets.ts";
import { messageOf } from "../core/errors.ts";
import { clientFor, responseOf } from "../core/http.ts";
import { readPlainFile } from "../core/plain-file.ts";
import { type PicturePlace, PictureScoring, pictureFrame } from "./picture-scoring.ts";
import type { PolledDevice } from "./polling-source.ts";
import type { SourceSink } from "./source.ts";
import { Unavailable } from "./unavailable.ts";

/** A camera that answers with a picture over HTTP. What it is asked for and cannot be scored is not asked for again. */
export class ImageUrlDevice implements PolledDevice {
  readonly name: string;
  readonly maxFrameBytes: number;
  readonly #path: string;
  readonly #config: ImageUrlSourceConfig;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #scoring: PictureScoring;
  #options: { readonly headers: Readonly<Record<string, string>>; readonly ca?: Buffer } = { headers: {} };
  /** Why the last picture brought no reading. */
  #unread: string | undefined;

  constructor(
    source: string,
    config: ImageUrlSourceConfig,
    environment: NodeJS.ProcessEnv,
    place: PicturePlace,
  ) {
    const { origin, pathname } = new URL(config.url);
    // A query may hold what is nobody's business.
    this.name = `${origin}${pathname}`;
    this.maxFrameBytes = imageFrameBytes(config);
    this.#path = `sources.${source}`;
    this.#config = config;
    this.#environment = environment;
    this.#scoring = new PictureScoring(source, config, place);
  }

  get trouble(): string | undefined {
    const troubles = [...this.#scoring.trouble, ...(this.#unread === undefined ? [] : [this.#unread])];
    return troubles.length === 0 ? undefined : troubles.join("; ");
  }

  /** Reads what it needs to say who it is. @throws ConfigError, and what the system says */
  async open(): Promise<void> {
    const { username = "", password, caFile } = this.#config;
    const secret = password && resolveSecret(password, `${this.#path}.password`, this.#environment);
    const login = Buffer.from(`${username}:${secret ?? ""}`).toString("base64");
    const isKnown = this.#config.username !== undefined || secret !== undefined;
    this.#options = {
      headers: { accept: "image/*", ...(isKnown ? { authorization: `Basic ${login}` } : {}) },
      ...(caFile === undefined ? {} : { ca: await readPlainFile(caFile) }),
    };
  }

  async ask(signal: AbortSignal, discard: SourceSink["discard"]): Promise<Uint8Array | undefined> {
    // No picture is taken for nothing: the camera keeps its present.
    this.#unread = this.#scoring.waits?.reason;
    if (this.#unread !== undefined) return undefined;
    const bytes = await this.#picture(signal, discard);
    const identity = createHash("sha256").update(bytes).digest("hex").slice(0, 32);
    const scored = await this.#scoring.score(bytes, identity, signal);
    switch (scored.kind) {
      case "wait":
        this.#unread = this.#scoring.statusOf(scored).reason;
        discard("unscored", bytes.length);
        return undefined;
      case "failed":
        this.#unread = `the model failed at the last picture: ${scored.message}`;
        discard("unscored", bytes.length);
        return undefined;
      case "discard":
        this.#unread = `no reading came of the last picture: ${scored.message}`;
        discard(scored.reason, bytes.length, bytes);
        return undefined;
      case "scored":
        return pictureFrame(identity, scored);
      default:
        return scored satisfies never;
    }
  }

  async close(): Promise<void> {
    // Each picture has a connection of its own.
  }

  /** @throws Unavailable */
  async #picture(signal: AbortSignal, discard: SourceSink["discard"]): Promise<Buffer> {
    const { timeoutMs, maxBytes } = this.#config;
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      const response = await this.#response(AbortSignal.any([signal, timeout]));
      if (response.statusCode !== 200) {
        response.destroy();
        throw new Unavailable("IMAGE_URL_UNAVAILABLE", "failed", `it answers ${response.statusCode}`);
      }
      const chunks: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > maxBytes) {
          discard("overlong", bytes);
          throw new Unavailable(
            "IMAGE_URL_UNAVAILABLE",
            "failed",
            `the picture has more than ${maxBytes} bytes`,
          );
        }
        chunks.push(chunk);
      }
      return Buffer.concat(chunks);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof Unavailable) throw error;
      const message = timeout.aborted ? `no whole picture within ${timeoutMs} ms` : messageOf(error);
      throw new Unavailable("IMAGE_URL_UNAVAILABLE", "absent", message, { cause: error });
    }
  }

  async #response(signal: AbortSignal): Promise<IncomingMessage> {
    const { url } = this.#config;
    const options = { ...this.#options, signal, agent: false };
    return await responseOf(clientFor(url).request(url, options).end(), signal);
  }
}
