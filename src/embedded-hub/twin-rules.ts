/**
 * What a twin may hold, and how a patch changes it. Pure.
 * Source of the limits: IoT Hub device twin guide; of the reported rules: edge hub's ReportedPropertiesValidator.
 */

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

export const twinLimits = {
  sectionBytes: 32 * 1024,
  tagsBytes: 8 * 1024,
  valueBytes: 4096,
  nameBytes: 1024,
  depth: 10,
  minInteger: -(2 ** 52),
  maxInteger: 2 ** 52 - 1,
} as const;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what the rule forbids.
const hubNamePattern = /[\u0000-\u001f\u007f-\u009f.$\s]/;

function nameProblem(name: string, path: string, rules: "hub" | "edgeHub"): string | undefined {
  if (name.length === 0) return `${path || "the document"}: an empty property name`;
  if (Buffer.byteLength(name) > twinLimits.nameBytes) return `${path}: a property name above 1 KB`;
  if (hubNamePattern.test(name) || (rules === "edgeHub" && name.includes("#"))) {
    return `${path}: the property name contains an invalid character`;
  }
  return undefined;
}

function scalarProblem(value: JsonValue, path: string): string | undefined {
  if (typeof value === "string" && Buffer.byteLength(value) > twinLimits.valueBytes) {
    return `${path}: a value above 4 KB`;
  }
  if (
    typeof value === "number" &&
    Number.isInteger(value) &&
    (value < twinLimits.minInteger || value > twinLimits.maxInteger)
  ) {
    return `${path}: an integer outside -2^52 to 2^52-1`;
  }
  return undefined;
}

function arrayProblem(
  array: readonly JsonValue[],
  path: string,
  depth: number,
  rules: "hub" | "edgeHub",
): string | undefined {
  if (depth > maxWalkDepth) return `${path}: nested too deep`;
  for (const [index, item] of array.entries()) {
    const itemPath = `${path}[${index}]`;
    if (item === null) return `${itemPath}: null inside an array`;
    let problem: string | undefined;
    if (Array.isArray(item)) problem = arrayProblem(item, itemPath, depth + 1, rules);
    else if (isJsonObject(item)) {
      problem = arrayObjectProblem(item, itemPath, depth + 1, rules);
    } else if (rules === "hub") problem = scalarProblem(item, itemPath);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** Edge hub looks only for nulls in there; the hub applies all its rules. */
function arrayObjectProblem(
  object: JsonObject,
  path: string,
  depth: number,
  rules: "hub" | "edgeHub",
): string | undefined {
  if (depth > maxWalkDepth) return `${path}: nested too deep`;
  for (const [name, value] of Object.entries(object)) {
    const here = `${path}.${name}`;
    let problem = rules === "hub" ? nameProblem(name, here, rules) : undefined;
    if (value === null) problem ??= `${here}: null inside an array`;
    else if (Array.isArray(value)) problem ??= arrayProblem(value, here, depth + 1, rules);
    else if (isJsonObject(value)) problem ??= arrayObjectProblem(value, here, depth + 1, rules);
    else if (rules === "hub") problem ??= scalarProblem(value, here);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** A guard for the walk itself: JSON text may nest deeper than a stack. */
const maxWalkDepth = 64;

function objectProblem(
  object: JsonObject,
  path: string,
  depth: number,
  rules: "hub" | "edgeHub",
): string | undefined {
  for (const [name, value] of Object.entries(object)) {
    const here = path === "" ? name : `${path}.${name}`;
    let problem = nameProblem(name, here, rules);
    if (isJsonObject(value)) {
      if (depth > twinLimits.depth) problem ??= `${here}: nested deeper than ${twinLimits.depth} levels`;
      problem ??= objectProblem(value, here, depth + 1, rules);
    } else if (Array.isArray(value)) problem ??= arrayProblem(value, here, depth + 1, rules);
    else problem ??= scalarProblem(value, here);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** Why a patch is refused, with the path; undefined when it is in order. */
export function patchProblem(patch: unknown, rules: "hub" | "edgeHub"): string | undefined {
  if (!isJsonObject(patch)) return "a patch is a JSON object";
  const problem = objectProblem(patch, "", 1, rules);
  if (problem !== undefined || rules === "hub") return problem;
  const bytes = Buffer.byteLength(JSON.stringify(patch));
  return bytes > twinLimits.sectionBytes ? `the patch has ${bytes} bytes, 32 KB are allowed` : undefined;
}

/** The hub's measure: keys and strings by their characters, numbers 8 bytes, booleans 4. */
export function twinSize(value: JsonValue): number {
  switch (typeof value) {
    case "string":
      return value.length;
    case "number":
      return 8;
    case "boolean":
      return 4;
    default:
      if (value === null) return 0;
      if (isJsonObject(value)) {
        return Object.entries(value).reduce((sum, [key, inner]) => sum + key.length + twinSize(inner), 0);
      }
      return value.reduce<number>((sum, inner) => sum + twinSize(inner), 0);
  }
}

/** Merges a patch: objects recurse, null removes, everything else (arrays too) replaces. */
export function mergePatch(target: JsonObject, patch: JsonObject): JsonObject {
  const merged = new Map(Object.entries(target));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) {
      merged.delete(key);
    } else if (isJsonObject(value)) {
      const before = merged.get(key);
      merged.set(key, mergePatch(isJsonObject(before) ? before : {}, value));
    } else merged.set(key, value);
  }
  return Object.fromEntries(merged);
}

/** The patch that makes `after` of `before`. */
export function diff(before: JsonObject, after: JsonObject): JsonObject {
  const patch = new Map<string, JsonValue>();
  for (const [key, value] of Object.entries(after)) {
    const old = Object.hasOwn(before, key) ? before[key] : undefined;
    if (isJsonObject(value) && isJsonObject(old)) {
      const inner = diff(old, value);
      if (Object.keys(inner).length > 0) patch.set(key, inner);
    } else if (JSON.stringify(old) !== JSON.stringify(value)) patch.set(key, value);
  }
  for (const key of Object.keys(before)) if (!Object.hasOwn(after, key)) patch.set(key, null);
  return Object.fromEntries(patch);
}
