import { createHmac, timingSafeEqual } from "node:crypto";
import { encode } from "./topics.ts";

const prefix = "SharedAccessSignature ";

export interface SasFields {
  /** As sent, still percent-encoded: this text is what was signed. */
  readonly resource: string;
  readonly expiry: string;
  /** Decoded, base64. */
  readonly signature: string;
  readonly policy: string | undefined;
}

export type SasVerdict =
  | { readonly ok: true; readonly expiresAtMs: number }
  | { readonly ok: false; readonly reason: SasRefusal };

export type SasRefusal = "malformed" | "expired" | "wrongResource" | "wrongSignature";

/** Reads a token's fields in any order; undefined if one is missing, repeated or badly encoded. */
export function parseSas(token: string): SasFields | undefined {
  if (!token.startsWith(prefix)) return undefined;
  const fields = new Map<string, string>();
  for (const part of token.slice(prefix.length).split("&")) {
    const at = part.indexOf("=");
    const key = part.slice(0, at);
    if (at < 1 || fields.has(key)) return undefined;
    fields.set(key, part.slice(at + 1));
  }
  const resource = fields.get("sr");
  const expiry = fields.get("se");
  const signature = fields.get("sig");
  if (
    resource === undefined ||
    signature === undefined ||
    expiry === undefined ||
    !/^\d{1,12}$/.test(expiry)
  ) {
    return undefined;
  }
  const decoded = decodeOrUndefined(signature);
  return decoded === undefined
    ? undefined
    : { resource, expiry, signature: decoded, policy: fields.get("skn") };
}

function decodeOrUndefined(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

export function signature(key: string, text: string | Buffer): string {
  return createHmac("sha256", Buffer.from(key, "base64")).update(text).digest("base64");
}

/**
 * Checks a token against the resources its bearer may claim and the keys it may have signed with.
 * The expiry has to lie in the future: `se > now`, in whole seconds.
 */
export function verifySas(
  token: string,
  resources: readonly string[],
  keys: readonly string[],
  nowMs: number,
): SasVerdict {
  const fields = parseSas(token);
  if (fields === undefined) return { ok: false, reason: "malformed" };
  const resource = decodeOrUndefined(fields.resource);
  if (resource === undefined) return { ok: false, reason: "malformed" };
  if (!resources.includes(resource)) return { ok: false, reason: "wrongResource" };
  const expiresAtMs = Number(fields.expiry) * 1000;
  if (Number(fields.expiry) <= Math.floor(nowMs / 1000)) return { ok: false, reason: "expired" };
  const given = Buffer.from(fields.signature, "base64");
  const matches = keys.some((key) => {
    const expected = Buffer.from(signature(key, `${fields.resource}\n${fields.expiry}`), "base64");
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
  return matches ? { ok: true, expiresAtMs } : { ok: false, reason: "wrongSignature" };
}

export function createSas(resource: string, key: string, expiresAtMs: number): string {
  const encoded = encode(resource);
  const expiry = String(Math.floor(expiresAtMs / 1000));
  const signed = encode(signature(key, `${encoded}\n${expiry}`));
  return `${prefix}sr=${encoded}&sig=${signed}&se=${expiry}`;
}
