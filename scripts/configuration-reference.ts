/** The reference of the configuration as Markdown, from its JSON Schema. */
interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

export function configurationReference(schema: object, notice: string): string {
  const rows: string[] = [];
  collect(schema as Schema, "", false, rows);
  return [
    "# Configuration reference",
    "",
    notice,
    "<!-- Source: src/config/*schema.ts -->",
    "",
    "`*` stands for a name of your choice.",
    "Unknown keys are errors.",
    "`docs/configuration.md` says how the layers work together.",
    "",
    "| key | value | default | meaning |",
    "|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

function collect(schema: Schema, path: string, required: boolean, rows: string[]): void {
  if (path !== "") rows.push(row(schema, path, required));
  const kinds = (schema.anyOf ?? schema.oneOf ?? []).flatMap(kindsOf);
  if (kinds.length > 0) collectKinds(kinds, path, rows);
  else collectMembers(schema, path, rows);
}

function collectMembers(schema: Schema, path: string, rows: string[]): void {
  const prefix = path === "" ? "" : `${path}.`;
  for (const [key, member] of Object.entries(schema.properties ?? {})) {
    collect(member, prefix + key, schema.required?.includes(key) ?? false, rows);
  }
  if (typeof schema.additionalProperties === "object")
    collect(schema.additionalProperties, `${prefix}*`, false, rows);
}

/** One of several objects of which one may stand in a place; its tags tell it from the others. */
interface Kind {
  readonly schema: Schema;
  readonly tags: readonly (readonly [key: string, value: string])[];
}

function kindsOf(variant: Schema): Kind[] {
  if (variant.oneOf) return variant.oneOf.flatMap(kindsOf);
  if (!variant.properties) return [];
  const tags = Object.entries(variant.properties).flatMap(([key, { const: value }]) =>
    value === undefined ? [] : [[key, String(value)] as const],
  );
  return [{ schema: variant, tags }];
}

/** What kinds there are, then their members, each once for all kinds that have it alike. */
function collectKinds(kinds: readonly Kind[], path: string, rows: string[]): void {
  for (const { schema, tags } of kinds) {
    const said = Object.values(schema.properties ?? {}).find((m) => m.const !== undefined && m.description);
    const { description = said?.description ?? "" } = schema;
    if (tags.length > 0) rows.push(row({ type: "object", description }, `${path}${allTags(tags)}`, false));
  }
  const members = new Map<string, { key: string; member: Schema; required: boolean; kinds: Kind[] }>();
  for (const kind of kinds) {
    for (const [key, member] of Object.entries(kind.schema.properties ?? {})) {
      if (member.const !== undefined) continue;
      const required = kind.schema.required?.includes(key) ?? false;
      const alike = JSON.stringify([key, member, required]);
      const known = members.get(alike) ?? { key, member, required, kinds: [] };
      known.kinds.push(kind);
      members.set(alike, known);
    }
  }
  for (const { key, member, required, kinds: of } of members.values())
    collect(member, `${path}${labelOf(of, kinds)}.${key}`, required, rows);
}

const allTags = (tags: Kind["tags"]) => `[${tags.map(([key, value]) => `${key}=${value}`).join(",")}]`;

/** Nothing when it is all of them or they have no names; `[type=serial,mqtt]` for whole families; each by itself otherwise. */
function labelOf(some: readonly Kind[], all: readonly Kind[]): string {
  // Kinds without a name differ by the members themselves.
  if (some.length === all.length || some.every(({ tags }) => tags.length === 0)) return "";
  const family = ({ tags }: Kind) => tags[0]?.[1];
  const isWhole = (kind: Kind) =>
    all.filter((other) => family(other) === family(kind)).every((other) => some.includes(other));
  const whole = [...new Set(some.filter(isWhole).map(family))];
  const parts = some.filter((kind) => !isWhole(kind)).map(({ tags }) => tags.at(-1));
  const named = (key: string | undefined, values: readonly (string | undefined)[]) =>
    values.length === 0 ? [] : [`${key}=${values.join(",")}`];
  return `[${[
    ...named(some[0]?.tags[0]?.[0], whole),
    ...named(
      parts[0]?.[0],
      parts.map((tag) => tag?.[1]),
    ),
  ].join(";")}]`;
}

function row(schema: Schema, path: string, required: boolean): string {
  const value = typeText(schema);
  const fallback =
    schema.default === undefined ? (required ? "required" : "") : `\`${JSON.stringify(schema.default)}\``;
  const cells = [`\`${path}\``, value, fallback, schema.description ?? ""];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
}

function typeText(schema: Schema): string {
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  if (schema.enum) return schema.enum.map((value) => `\`${JSON.stringify(value)}\``).join(", ");
  const variants = schema.anyOf ?? schema.oneOf;
  if (variants) return [...new Set(variants.map(typeText))].join(" or ");
  if (schema.type === "array" && schema.items) return `list of ${typeText(schema.items)}`;
  if (schema.type === "integer" || schema.type === "number") {
    const { minimum: min, maximum: max } = schema;
    const limits = min !== undefined && max !== undefined && Math.abs(max) < Number.MAX_SAFE_INTEGER;
    return limits ? `${schema.type}, ${min} to ${max}` : schema.type;
  }
  return schema.type ?? "any";
}
