import { isObject, type JsonObject, type JsonValue } from "../core/json.ts";

/** A twin holds short values well; Azure's tools cut createOptions at this length (iotedgedev, deploymentmanifest.py). */
export const createOptionsPieceLength = 512;

/**
 * Modules that need something of the customer's own, and the variable that brings it. Without it the module is left
 * out, and with it the section of the same name in the gateway's twin, which says where it is.
 */
const optionalModules: Readonly<Record<string, string>> = { sentiment: "SENTIMENT_BILLING" };

/** The part of `modules/<name>/module.json` that names the image. */
export interface ModuleFile {
  readonly image: {
    readonly repository: string;
    readonly tag: { readonly version: string; readonly platforms: Readonly<Record<string, string>> };
  };
}

export interface DeploymentInput {
  /** `amd64`, `arm32v7` or `arm64v8`. */
  readonly platform: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** `module.json` of each folder under `modules/`, by the name of the folder. */
  readonly modules: Readonly<Record<string, ModuleFile>>;
}

/**
 * Makes the deployment manifest that `iotedgedev genconfig` makes: environment variables, then image placeholders,
 * then createOptions as text in pieces. What has no value stays as it is and is reported by `checkDeployment`.
 * One difference: a value is text, also with a quote in it, where iotedgedev pastes it into the JSON source.
 */
export function generateDeployment(template: JsonObject, input: DeploymentInput): JsonObject {
  const { "$schema-template": _removed, ...content } = template;
  const manifest = expand(content, input.environment);
  for (const name of leftOut(input.environment)) {
    delete asObject(at(manifest, ...agentPath, "modules"))[name];
    delete asObject(at(manifest, "modulesContent", "gateway", "properties.desired"))[name];
  }
  const images = imageNames(input);
  for (const module of modulesOf(manifest)) {
    const settings = module.settings;
    if (!isObject(settings)) continue;
    const image = settings.image;
    if (typeof image === "string") settings.image = images.get(image) ?? image;
    const options = settings.createOptions;
    if (options !== undefined) {
      delete settings.createOptions;
      Object.assign(settings, createOptionsPieces(options));
    }
  }
  return manifest;
}

/** Names of the modules that nothing was given for. */
export function leftOut(environment: DeploymentInput["environment"]): string[] {
  return Object.keys(optionalModules).filter((name) => !environment[optionalModules[name] ?? ""]);
}

const agentPath = ["modulesContent", "$edgeAgent", "properties.desired"] as const;

/** The entries of `systemModules` and `modules`. */
function modulesOf(manifest: JsonObject): JsonObject[] {
  const agent = at(manifest, ...agentPath);
  return ["systemModules", "modules"]
    .flatMap((group) => Object.values(asObject(at(agent, group))))
    .filter(isObject);
}

function at(value: JsonValue | undefined, ...path: readonly string[]): JsonValue | undefined {
  return path.reduce<JsonValue | undefined>(
    (inner, key) => (isObject(inner) ? inner[key] : undefined),
    value,
  );
}

function asObject(value: JsonValue | undefined): JsonObject {
  return isObject(value) ? value : {};
}

/** `$NAME` and `${NAME}` as Python's `os.path.expandvars` reads them: unknown names stay. */
function expandText(text: string, environment: DeploymentInput["environment"]): string {
  return text.replace(
    /\$(?:(\w+)|\{([^}]*)\})/g,
    (whole, plain?: string, braced?: string) => environment[plain ?? braced ?? ""] ?? whole,
  );
}

function expand(value: JsonObject, environment: DeploymentInput["environment"]): JsonObject {
  const inner = (item: JsonValue): JsonValue => {
    if (typeof item === "string") return expandText(item, environment);
    if (Array.isArray(item)) return item.map(inner);
    return isObject(item) ? expand(item, environment) : item;
  };
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [expandText(key, environment), inner(item)]),
  );
}

/** Image by placeholder: `${MODULES.x}`, `${MODULES.x.debug}`, `${MODULES.x.<platform>}`. */
function imageNames({ platform, environment, modules }: DeploymentInput): Map<string, string> {
  const names = new Map<string, string>();
  const custom = environment.CONTAINER_TAG ? `-${environment.CONTAINER_TAG}` : "";
  for (const [folder, { image }] of Object.entries(modules)) {
    const repository = expandText(image.repository, environment).toLowerCase();
    const version = expandText(image.tag.version, environment);
    for (const key of Object.keys(image.tag.platforms)) {
      const name = `${repository}:${version}${custom}-${key}`;
      names.set(`\${MODULES.${folder}.${key}}`, name);
      if (key === platform) names.set(`\${MODULES.${folder}}`, name);
      if (key === `${platform}.debug`) names.set(`\${MODULES.${folder}.debug}`, name);
    }
  }
  return names;
}

/** `createOptions`, `createOptions01`, … Non-ASCII is escaped, so that no cut falls inside a character. */
export function createOptionsPieces(options: JsonValue): Record<string, string> {
  const text = typeof options === "string" ? options : JSON.stringify(options);
  const ascii = text.replace(
    /[^\0-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  const pieces: Record<string, string> = {};
  for (let start = 0, n = 0; n === 0 || start < ascii.length; start += createOptionsPieceLength, n++) {
    pieces[`createOptions${n === 0 ? "" : String(n).padStart(2, "0")}`] = ascii.slice(
      start,
      start + createOptionsPieceLength,
    );
  }
  return pieces;
}
