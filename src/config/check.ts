import type { z } from "zod";
import { ConfigError, type Problem } from "../core/errors.ts";
import { fingerprint, isObject, type JsonObject } from "../core/json.ts";
import { decoding } from "./decoding.ts";
import { feedNumbers, mostNumbers } from "./feed-numbers.ts";
import { modelContradictions } from "./model-contradictions.ts";
import { type Config, configSchema, localSections, type PipelineConfig } from "./schema.ts";
import { textParts } from "./sentiment-texts.ts";
import { sourceContradictions } from "./source-contradictions.ts";

/** A checked configuration with its fingerprint; frozen all the way down. */
export interface CheckedConfig {
  readonly config: Config;
  readonly hash: string;
}

/** @throws ConfigError with every problem at once. */
export function checkConfig(input: JsonObject): CheckedConfig {
  const problems: Problem[] = [];
  const parsed = configSchema.safeParse(input);
  if (parsed.success) problems.push(...contradictions(parsed.data));
  else problems.push(...parsed.error.issues.flatMap((issue) => explain(issue, input)));
  if (!parsed.success || problems.length > 0) throw new ConfigError("CONFIG_INVALID", problems);
  return { config: deepFreeze(parsed.data), hash: orderedFingerprint(parsed.data) };
}

/** Of windows and validations the order counts, which a fingerprint of maps would not see. */
function orderedFingerprint(config: Pick<Config, "windows" | "validate">): string {
  return fingerprint({
    ...config,
    windows: Object.entries(config.windows),
    validate: Object.entries(config.validate),
  });
}

/** Problems of a twin's layer that no merging can mend: what a remote change must not touch. */
export function checkTwinLayer(layer: JsonObject): Problem[] {
  const sources = Object.entries(isObject(layer.sources) ? layer.sources : {});
  // Whom a box lets in is not for who is far away to say.
  const doors = sources.flatMap(([name, source]) =>
    ["listen", "mode"]
      .filter((key) => isObject(source) && key in source)
      .map((key) => `sources.${name}.${key}`),
  );
  return [...localSections.filter((section) => section in layer), ...doors].map((path) => ({
    path,
    message: "cannot be set in the twin",
    hint: "set it in the configuration file or the environment, where a mistake can be mended on the spot",
  }));
}

/** Each closing looks at the windows of its device that are kept for late readings. */
const maxKeptWindows = 1_000;

/** What the schema cannot say: relations between entries. */
function contradictions(config: Config): Problem[] {
  const problems: Problem[] = [];
  problems.push(...sourceContradictions(config), ...hubContradictions(config));
  problems.push(...modelContradictions(config));
  for (const [name, window] of Object.entries(config.windows)) {
    if (window.state === "on" && window.allowedLatenessMs > maxKeptWindows * window.sizeMs) {
      problems.push({
        path: `windows.${name}.allowedLatenessMs`,
        message: `would keep more than ${maxKeptWindows} windows of each device`,
        hint: `at most ${maxKeptWindows} times sizeMs`,
      });
    }
    for (const [index, source] of (window.sources ?? []).entries()) {
      if (window.state === "on" && !(source in config.sources)) {
        problems.push({
          path: `windows.${name}.sources.${index}`,
          message: `there is no source ${source}`,
          ...near(source, Object.keys(config.sources)),
        });
      }
    }
  }
  const spellings = new Map<string, string>();
  for (const [name, channel] of Object.entries(config.channels)) {
    if (channel.state === "off") continue;
    for (const [index, alias] of channel.aliases.entries()) {
      const other = spellings.get(alias);
      if (other !== undefined && other !== name) {
        problems.push({
          path: `channels.${name}.aliases.${index}`,
          message: `${alias} already means ${other}`,
        });
      }
      spellings.set(alias, name);
    }
  }
  const calibrated = new Map<string, string>();
  for (const [name, entry] of Object.entries(config.calibrate)) {
    if (entry.state === "off") continue;
    for (const channel of Object.keys(entry.channels)) {
      const key = `${entry.device}\n${channel}`;
      const other = calibrated.get(key);
      if (other !== undefined) {
        problems.push({
          path: `calibrate.${name}.channels.${channel}`,
          message: `${channel} of ${entry.device} is already calibrated by ${other}`,
        });
      }
      calibrated.set(key, name);
    }
  }
  return problems;
}

function hubContradictions({ hub }: Config): Problem[] {
  if (hub.type === "mqtt" || hub.client === "direct") return [];
  const hint = `choose "client": "direct"`;
  const problems: Problem[] = [];
  if (hub.transport === "websocket")
    problems.push({ path: "hub.transport", message: "the SDK's client speaks MQTT on port 8883 only", hint });
  if (hub.type === "iothub" && hub.proxy !== undefined)
    problems.push({ path: "hub.proxy", message: "the SDK's client takes no proxy", hint });
  return problems;
}

type Issue = z.core.$ZodIssue;

function explain(issue: Issue, input: JsonObject): Problem[] {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    const known = knownKeys(issue.path, input);
    return issue.keys.map((key) => ({
      path: [...path, key].join("."),
      message: "unknown key",
      ...(whereNow(key, known) ?? near(key, known)),
    }));
  }
  if (issue.code === "invalid_union" && "discriminator" in issue && typeof issue.discriminator === "string") {
    const at = valueAt(issue.path.slice(0, -1), input);
    const given = isObject(at) ? at[issue.discriminator] : undefined;
    return [
      {
        path: path.join("."),
        message: given === undefined ? "is missing" : `unknown value ${JSON.stringify(given)}`,
        hint: "run `headgate schema` to see what is possible",
      },
    ];
  }
  if (issue.code === "invalid_key")
    return [{ path: path.join("."), message: issue.issues.map((i) => i.message).join("; ") }];
  if (issue.code === "invalid_type" && valueAt(issue.path, input) === undefined) {
    return [
      { path: path.join("."), message: `is missing (${issue.expected})`, ...missingHint(path.join(".")) },
    ];
  }
  return [{ path: path.join("."), message: issue.message }];
}

function missingHint(path: string): { hint?: string } {
  return path === "hub"
    ? {
        hint: `set "hub": {"type": "edge" | "iothub" | "mqtt", …}; as an IoT Edge module it is found by itself`,
      }
    : {};
}

function valueAt(path: readonly PropertyKey[], input: unknown): unknown {
  let at = input;
  for (const key of path)
    at = isObject(at) || Array.isArray(at) ? (at as Record<PropertyKey, unknown>)[key] : undefined;
  return at;
}

/** Keys the schema knows at a path, to find what a typing error meant. */
function knownKeys(path: readonly PropertyKey[], input: JsonObject): string[] {
  let schemas: z.core.$ZodType[] = [configSchema];
  let at: unknown = input;
  for (const key of path) {
    schemas = schemas.flatMap((schema) => below(schema, key, at));
    at = valueAt([key], at);
  }
  return [...new Set(schemas.flatMap((schema) => objectKeys(schema, at)))];
}

/** Of variants that a member tells apart only the one that is meant: a key of the others is no advice. */
function unwrap(schema: z.core.$ZodType, at: unknown): z.core.$ZodType[] {
  const def = schema._zod.def as {
    type: string;
    innerType?: z.core.$ZodType;
    options?: z.core.$ZodType[];
    discriminator?: string;
  };
  if (def.innerType) return unwrap(def.innerType, at);
  const { discriminator, options } = def;
  if (!options) return [schema];
  const meant = options.filter(({ _zod: { propValues } }) => {
    if (discriminator === undefined || !isObject(at)) return true;
    return propValues?.[discriminator]?.has(at[discriminator] as string) ?? true;
  });
  return (meant.length > 0 ? meant : options).flatMap((option) => unwrap(option, at));
}

function below(schema: z.core.$ZodType, key: PropertyKey, at: unknown): z.core.$ZodType[] {
  return unwrap(schema, at).flatMap((s) => {
    const def = s._zod.def as { shape?: Record<string, z.core.$ZodType>; valueType?: z.core.$ZodType };
    const next = def.shape?.[String(key)] ?? def.valueType;
    return next ? [next] : [];
  });
}

function objectKeys(schema: z.core.$ZodType, at: unknown): string[] {
  return unwrap(schema, at).flatMap((s) => Object.keys((s._zod.def as { shape?: object }).shape ?? {}));
}

/** Keys of earlier versions, and where it is said now. */
const moved: Readonly<Record<string, readonly [section: string, key: string]>> = {
  maxLineBytes: ["framing", "maxBytes"],
  firstLine: ["framing", "first"],
};

function whereNow(given: string, known: readonly string[]): { hint: string } | undefined {
  const [section = "", key] = (Object.hasOwn(moved, given) ? moved[given] : undefined) ?? [];
  return known.includes(section) ? { hint: `it is ${section}.${key} now` } : undefined;
}

function near(given: string, known: readonly string[]): { hint?: string } {
  let best: { name: string; distance: number } | undefined;
  for (const name of known) {
    const distance = editDistance(given.toLowerCase(), name.toLowerCase());
    if (distance <= Math.max(2, name.length / 3) && (!best || distance < best.distance))
      best = { name, distance };
  }
  if (best) return { hint: `did you mean ${best.name}?` };
  return known.length > 0 ? { hint: `known here: ${known.join(", ")}` } : {};
}

/** Levenshtein distance; the texts are short names. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
}

/** Silence unless the configuration says otherwise: so many intervals, and no less than this. */
const silentIntervals = 10;
const leastSilentMs = 10_000;

/** What of the configuration the pipeline needs, with entries that are off left out. */
export function pipelineConfig({ config }: CheckedConfig): PipelineConfig {
  const sources = Object.entries(on(config.sources)).map(([name, source]) => {
    const intervalMs = "intervalMs" in source ? source.intervalMs : undefined;
    const interval = intervalMs === undefined ? {} : { intervalMs };
    const silentMs =
      source.silentMs ??
      (intervalMs === undefined ? 0 : Math.max(leastSilentMs, silentIntervals * intervalMs));
    const silence = silentMs === 0 ? {} : { silentMs };
    const isTold = (source.readings ?? config.publish.readings) === "all";
    const readings = isTold ? { readings: "all" as const } : {};
    const texts = textParts(name, source, config);
    return [
      name,
      { ...decoding(source, config.sources), ...interval, ...silence, ...readings, ...texts },
    ] as const;
  });
  const maxNumbers = feedNumbers(config);
  const bound = maxNumbers < mostNumbers ? { maxNumbers } : {};
  const feeds = Object.entries(on(config.sources)).flatMap(([name, source]) => {
    if (source.type !== "model") return [];
    const { inputs, missing } = source;
    const ownTime = decoding(source, config.sources).decode.time ? { ownTime: true as const } : {};
    return [[name, { inputs, missing, ...ownTime, ...bound }] as const];
  });
  const parts = {
    gateway: config.gateway.name,
    sources: Object.fromEntries(sources),
    clock: config.clock,
    channels: on(config.channels),
    calibrate: on(config.calibrate),
    validate: on(config.validate),
    windows: on(config.windows),
    ...(feeds.length > 0 ? { feeds: Object.fromEntries(feeds) } : {}),
    ...(config.alarms.state === "on" ? { alarms: { minSpacingMs: config.alarms.minSpacingMs } } : {}),
  };
  return { ...parts, hash: orderedFingerprint(parts) };
}

function on<T extends { readonly state: "on" | "off" }>(
  entries: Readonly<Record<string, T>>,
): Record<string, T> {
  return Object.fromEntries(Object.entries(entries).filter(([, entry]) => entry.state === "on"));
}
