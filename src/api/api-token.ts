import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SecretReference } from "../config/schema.ts";
import { resolveSecret } from "../config/secrets.ts";
import { hasCode } from "../core/errors.ts";

/** Where callers on the box find the token that was made for them. */
export function tokenPath(storeFolder: string): string {
  return join(storeFolder, "api-token");
}

/**
 * The token of the configuration, or the one in the store's folder, which is made at the first start.
 * @throws ConfigError SECRET_UNREADABLE; an error of the system when the file can be neither read nor made
 */
export function apiToken(
  reference: SecretReference | undefined,
  storeFolder: string,
  environment: NodeJS.ProcessEnv,
): string {
  if (reference) return resolveSecret(reference, "api.token", environment);
  const path = tokenPath(storeFolder);
  const kept = readIfThere(path);
  if (kept !== "") return kept;
  const token = randomBytes(32).toString("base64url");
  // In one step, so that no reader and no crash ever finds half of it.
  writeFileSync(`${path}.new`, `${token}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return token;
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return "";
    throw error;
  }
}

/** Says whether a request's `Authorization` carries the token, in a time that tells nothing of it. */
export function tokenCheck(token: string): (authorization: string | undefined) => boolean {
  const digest = (bytes: Buffer) => createHash("sha256").update(bytes).digest();
  const expected = digest(Buffer.from(token, "utf8"));
  return (authorization) => {
    const given = /^bearer +(.*)$/i.exec(authorization ?? "")?.[1];
    if (given === undefined) return false;
    // Node reads header bytes as Latin-1; hashed, both have one length.
    return timingSafeEqual(digest(Buffer.from(given, "latin1")), expected);
  };
}
