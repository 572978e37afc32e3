/** Steps from a JSON value to one below it: names of members, and places in arrays, from the end when negative. */
export type JsonPath = readonly (string | number)[];

/** Longer paths lead nowhere that a device sends. */
const maxLength = 512;

/** RFC 9535 section 2.5.1.1: a member's name that needs no quotes. */
const shorthand = /^\.([A-Za-z_\u{80}-\u{10ffff}][\w\u{80}-\u{10ffff}]*)/u;
const index = /^\[(0|-?[1-9]\d{0,8})\]/;
const quoted = /^\[(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\]/su;

/**
 * A singular query of JSONPath (RFC 9535 section 2.3.5.1), such as `$.data.values[0]` or `$['wind speed']`: it leads to
 * one value at most. Undefined for anything else.
 */
export function parseJsonPath(text: string): JsonPath | undefined {
  if (text[0] !== "$" || text.length > maxLength) return undefined;
  const path: (string | number)[] = [];
  for (let rest = text.slice(1); rest !== ""; ) {
    const [whole, name] = shorthand.exec(rest) ?? [];
    const [place, number] = index.exec(rest) ?? [];
    const [bracket, single, double] = quoted.exec(rest) ?? [];
    if (whole !== undefined && name !== undefined) path.push(name);
    else if (place !== undefined) path.push(Number(number));
    else if (bracket !== undefined) {
      const member = unescaped(single ?? double ?? "");
      if (member === undefined) return undefined;
      path.push(member);
    } else return undefined;
    rest = rest.slice((whole ?? place ?? bracket ?? "").length);
  }
  return path;
}

/** RFC 9535 section 2.3.1.1: the escapes of JSON, and that of the single quote. */
function unescaped(text: string): string | undefined {
  const asJson = text.replace(/\\.|"/gsu, (part) => (part === '"' ? '\\"' : part === "\\'" ? "'" : part));
  try {
    return JSON.parse(`"${asJson}"`) as string;
  } catch {
    return undefined;
  }
}

/** Undefined when nothing is there. */
export function valueAt(value: unknown, path: JsonPath): unknown {
  let at = value;
  for (const step of path) {
    if (typeof step === "number") at = Array.isArray(at) ? at.at(step) : undefined;
    else if (typeof at === "object" && at !== null && !Array.isArray(at) && Object.hasOwn(at, step))
      at = (at as Readonly<Record<string, unknown>>)[step];
    else return undefined;
  }
  return at;
}
