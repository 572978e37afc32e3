import { readFileSync, statSync } from "node:fs";
import { ConfigError, messageOf } from "../core/errors.ts";
import type { SecretReference } from "./schema.ts";

/** @throws ConfigError SECRET_UNREADABLE, which names the reference and never a value. */
export function resolveSecret(
  reference: SecretReference,
  path: string,
  environment: NodeJS.ProcessEnv,
): string {
  const fail = (message: string, hint: string, cause?: unknown) =>
    new ConfigError("SECRET_UNREADABLE", [{ path, message, hint }], { cause });
  if ("env" in reference) {
    const value = environment[reference.env];
    if (!value) throw fail(`the environment variable ${reference.env} is not set`, "set it for this process");
    return value;
  }
  try {
    // A pipe would keep the whole process waiting.
    if (!statSync(reference.file).isFile()) throw new Error("it is no file");
    const value = readFileSync(reference.file, "utf8").replace(/\r?\n$/, "");
    if (value === "") throw new Error("it is empty");
    return value;
  } catch (error) {
    const hint = "check that the file is mounted and readable by the process";
    throw fail(`the file ${reference.file} cannot be read: ${messageOf(error)}`, hint, error);
  }
}
