import { resolve, sep } from "node:path";
import type { Problem } from "../core/errors.ts";
import { fingerprint, isObject, type JsonObject, type JsonValue } from "../core/json.ts";
import { mergePatch } from "./layers.ts";

/** Environment variables whose name begins so are there for twins. */
const secretPrefix = "HEADGATE_SECRET_";
const keys = ["connectionString", "password", "token", "key", "caFile", "certFile", "keyFile"];

/** A section that a secret may stand in. */
interface Section {
  readonly path: string;
  readonly section: JsonObject;
  /** What file and environment have there. */
  readonly local: JsonValue;
}

/**
 * A secret goes to the hub or broker that its section names, and a twin may name any: it may refer to what is meant for
 * it, or to what the local configuration uses for the same place. `base`: file and environment.
 */
export function forbiddenInHub(hub: JsonValue, base: JsonObject | undefined, storePath: string): Problem[] {
  if (hub === null) return [];
  if (!isObject(hub)) return [{ path: "hub", message: "must be an object" }];
  return forbiddenIn({ path: "hub", section: hub, local: base?.hub ?? null }, storePath);
}

/** The same for the sources that a twin's layer names, as they are once it is merged in. */
export function forbiddenInSources(twin: JsonObject, base: JsonObject, storePath: string): Problem[] {
  if (!isObject(twin.sources)) return [];
  const sources = isObject(base.sources) ? base.sources : {};
  return Object.entries(twin.sources).flatMap(([name, patch]) => {
    if (!isObject(patch)) return [];
    const local = sources[name] ?? null;
    const section = mergePatch(isObject(local) ? local : {}, patch);
    const named = { path: `sources.${name}`, section, local };
    return [...forbiddenIn(named, storePath), ...forbiddenRoot(named), ...forbiddenOfPictures(named)];
  });
}

/** And for the scorers of models: a token goes to whatever their `url` says. */
export function forbiddenInModels(twin: JsonObject, base: JsonObject, storePath: string): Problem[] {
  if (!isObject(twin.models)) return [];
  const models = isObject(base.models) ? base.models : {};
  return Object.entries(twin.models).flatMap(([name, patch]) => {
    if (!isObject(patch) || !isObject(patch.remote)) return [];
    const entry = models[name];
    const local = isObject(entry) ? (entry.remote ?? null) : null;
    const section = mergePatch(isObject(local) ? local : {}, patch.remote);
    return forbiddenIn({ path: `models.${name}.remote`, section, local }, storePath);
  });
}

/** The same for the section of the sentiment container: its texts go with its key. */
export function forbiddenInSentiment(twin: JsonObject, base: JsonObject, storePath: string): Problem[] {
  if (!isObject(twin.sentiment)) return [];
  const local = isObject(base.sentiment) ? base.sentiment : {};
  return forbiddenIn({ path: "sentiment", section: mergePatch(local, twin.sentiment), local }, storePath);
}

/** A number in a file may be a secret as well: of sources that read files a twin names those of the kernel only. */
function forbiddenRoot({ path, section: { type, root }, local }: Section): Problem[] {
  if (type !== "sysfs" && type !== "oneWire") return [];
  if (typeof root !== "string" || resolve(root).startsWith("/sys/")) return [];
  if (isObject(local) && local.root === root) return [];
  const hint = "name a folder in /sys, or set it in the configuration file";
  return [{ path: `${path}.root`, message: "a twin cannot name this folder", hint }];
}

/**
 * What decides which files a source of pictures takes, and what becomes of them: one that is too large, or taken before it
 * is whole, is rejected.
 */
const ofFiles = ["folder", "extensions", "maxBytes", "settleMs", "afterwards", "moveTo", "rejected"];

/** Which files such a source deletes or moves, and where pictures may be sent, is said beside the box. */
function forbiddenOfPictures({ path, section, local }: Section): Problem[] {
  const here = isObject(local) && local.type === section.type ? local : {};
  const differs = (key: string) => fingerprint(section[key] ?? null) !== fingerprint(here[key] ?? null);
  const leads = section.upload !== undefined && differs("upload");
  const problems = leads
    ? [{ path: `${path}.upload`, message: "cannot be set in the twin, because pictures leave the box by it" }]
    : [];
  if (section.type !== "imageFolder") return problems;
  const ofFolder = ofFiles.filter(differs).map((key) => ({
    path: `${path}.${key}`,
    message: "cannot be set in the twin, because files are deleted or moved by it",
    hint: "set it in the configuration file or the environment",
  }));
  return [...problems, ...ofFolder];
}

function forbiddenIn({ path, section, local }: Section, storePath: string): Problem[] {
  const folder = resolve(storePath, "secrets") + sep;
  const isMeant = (reference: JsonValue) =>
    isObject(reference) &&
    ((typeof reference.env === "string" && reference.env.startsWith(secretPrefix)) ||
      (typeof reference.file === "string" && resolve(reference.file).startsWith(folder)));
  const isLocal = (key: string, reference: JsonValue) =>
    isObject(local) &&
    fingerprint(local[key] ?? null) === fingerprint(reference) &&
    (key === "connectionString" || local.url === section.url);
  return keys.flatMap((key) => {
    const value = section[key];
    if (value === undefined) return [];
    const reference = typeof value === "string" ? { file: value } : value;
    if (isMeant(reference) || isLocal(key, value)) return [];
    const message = "a twin cannot refer to this secret or file";
    const hint = `use an environment variable ${secretPrefix}…, a file in ${folder}, or what the file has here, for the same place`;
    return [{ path: `${path}.${key}`, message, hint }];
  });
}
