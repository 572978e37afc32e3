import type { IncomingMessage } from "node:http";

type Headers = Readonly<Record<string, string>>;

/** Where the JSON of a V2 message ends, and binary tensors begin. */
const tensorsHeader = "inference-header-content-length";
/** What a page may send along: the token, what the body is, the key of a request, and what a binary tensor is. */
const allowedHeaders = `authorization, content-type, idempotency-key, tensor-shape, tensor-type, ${tensorsHeader}`;
/** How long a browser need not ask again; Chromium's limit is 7,200 s. */
const maxAgeS = "600";

/**
 * Lets pages of other origins call, those that the configuration names (Fetch standard, section 3.2). A page that may
 * not is kept from the answer by its browser; what keeps it from the data is the token.
 */
export class Cors {
  readonly #origins: ReadonlySet<string>;

  constructor(origins: readonly string[]) {
    this.#origins = new Set(origins);
  }

  /** For every answer, refusals too, or the page could not read why. Empty when no page of a known origin asks. */
  headers({ headers: { origin } }: IncomingMessage): Headers {
    if (this.#origins.size === 0) return {};
    // Caches must not give one page the answer that was made for another.
    const vary = { vary: "origin" };
    if (!this.#allows(origin)) return vary;
    return {
      ...vary,
      "access-control-allow-origin": origin,
      "access-control-expose-headers": `retry-after, ${tensorsHeader}`,
    };
  }

  /**
   * The answer to a browser that asks whether a page may call with `method`, which comes without the token; undefined
   * when this is no such question, or of a page that may not.
   */
  preflight(request: IncomingMessage, method: string): Headers | undefined {
    const { origin, "access-control-request-method": wanted } = request.headers;
    if (request.method !== "OPTIONS" || wanted === undefined || !this.#allows(origin)) return undefined;
    // A page of the open network asks for a private address (Private Network Access).
    const isPrivate = request.headers["access-control-request-private-network"] === "true";
    return {
      "access-control-allow-methods": method,
      "access-control-allow-headers": allowedHeaders,
      "access-control-max-age": maxAgeS,
      ...(isPrivate ? { "access-control-allow-private-network": "true" } : {}),
    };
  }

  #allows(origin: string | undefined): origin is string {
    return origin !== undefined && (this.#origins.has("*") || this.#origins.has(origin));
  }
}
