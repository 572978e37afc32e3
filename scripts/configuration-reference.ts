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
  const variants = schema.anyOf ?? schema.oneOf ?? [];
  if (path !== "") rows.push(row(schema, path, required));
  if (variants.some((variant) => variant.properties ?? variant.oneOf)) {
    for (const variant of variants) {
      if (variant.oneOf) collectKinds(variant.oneOf, path, rows);
      else collectMembers(variant, `${path}${tagOf(variant)}`, rows);
    }
  } else collectMembers(schema, path, rows);
}

/** Variants of one variant: what they share once, then what is each one's own. */
function collectKinds([first, ...others]: readonly Schema[], path: string, rows: string[]): void {
  if (!first) return;
  const shared = Object.entries(first.properties ?? {}).filter(([key, member]) =>
    others.every(({ properties }) => JSON.stringify(properties?.[key]) === JSON.stringify(member)),
  );
  const common: Schema = { properties: Object.fromEntries(shared), required: first.required ?? [] };
  collectMembers(common, `${path}${tagOf(common)}`, rows);
  for (const kind of [first, ...others]) {
    const own = Object.entries(kind.properties ?? {}).filter(([key]) => !(key in (common.properties ?? {})));
    const properties = Object.fromEntries(own);
    const place = `${path}${tagOf({ properties })}`;
    rows.push(row(kind, place, false));
    for (const [key, member] of own) {
      if (member.const === undefined && Object.keys(member.properties ?? { "": 0 }).length > 0)
        collect(member, `${place}.${key}`, kind.required?.includes(key) ?? false, rows);
    }
  }
}

function collectMembers(schema: Schema, path: string, rows: string[]): void {
  const prefix = path === "" ? "" : `${path}.`;
  for (const [key, member] of Object.entries(schema.properties ?? {})) {
    collect(member, prefix + key, schema.required?.includes(key) ?? false, rows);
  }
  if (typeof schema.additionalProperties === "object")
    collect(schema.additionalProperties, `${prefix}*`, false, rows);
}

/** `[type=serial]` for a variant that a constant member tells apart. */
function tagOf(variant: Schema): string {
  const tag = Object.entries(variant.properties ?? {}).find(([, member]) => member.const !== undefined);
  return tag ? `[${tag[0]}=${String(tag[1].const)}]` : "";
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
