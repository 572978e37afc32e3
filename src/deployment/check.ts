import { isObject, type JsonObject, type JsonValue } from "../core/json.ts";
import { parseRoute } from "../embedded-hub/routes.ts";
import { checkAzureContainer } from "./azure-container.ts";
import { createOptionsPieceLength } from "./manifest.ts";

export interface Problem {
  /** Keys from the top of the manifest, joined by ` / `, because keys themselves hold dots. */
  readonly path: string;
  readonly message: string;
}

type Report = (path: readonly string[], message: string) => void;

/**
 * Every rule of a deployment manifest that can be seen in the manifest alone.
 * Facts: Azure/iotedge (edge-agent and edge-hub sources, doc/Route_priority_and_TTL.md), the JSON schemas
 * azure-iot-edge-deployment of SchemaStore, and iot-hub-devguide-device-twins of the Azure documentation.
 */
export function checkDeployment(manifest: JsonValue): readonly Problem[] {
  const problems: Problem[] = [];
  const report: Report = (path, message) => problems.push({ path: path.join(" / "), message });
  const content = isObject(manifest) ? manifest.modulesContent : undefined;
  if (!isObject(manifest) || !isObject(content)) {
    report(["modulesContent"], "is missing; a manifest has its modules under this key");
    return problems;
  }
  if (manifest["$schema-template"] !== undefined) report(["$schema-template"], "belongs to a template only");

  const twins: Record<string, JsonObject> = {};
  for (const [name, module] of Object.entries(content)) {
    const path = ["modulesContent", name];
    const desired = isObject(module) ? module["properties.desired"] : undefined;
    if (!isObject(desired)) report(path, "has no `properties.desired` object");
    else {
      twins[name] = desired;
      checkTwin(desired, [...path, "properties.desired"], report);
    }
  }
  const deployed = checkAgent(twins.$edgeAgent, report);
  checkHub(twins.$edgeHub, deployed, report);
  for (const name of Object.keys(content)) {
    if (!name.startsWith("$") && !deployed.has(name)) {
      report(["modulesContent", name], "is the twin of a module that is not deployed");
    }
  }
  return problems;
}

// --- $edgeAgent ---------------------------------------------------------------------------------

const moduleName = /^[a-zA-Z0-9_-]{1,128}$/;
/** Keys inside the twins of agent and hub become twin properties. */
const entryName = /^[^.$#\s\p{Cc}]+$/u;
const environmentName = /^[^+#$.\s]+$/;
/** Registry with optional port, lower-case path, then a tag, a digest, or both. */
const image =
  /^(?:[a-z0-9.-]+(?::\d+)?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/;
const agentModuleKeys = new Set(["type", "settings", "env", "imagePullPolicy"]);
const maxModules = 50;

/** @returns the names of the deployed modules */
function checkAgent(agent: JsonObject | undefined, report: Report): ReadonlySet<string> {
  const path = ["modulesContent", "$edgeAgent", "properties.desired"];
  if (agent === undefined) {
    report(path.slice(0, 2), "is missing");
    return new Set();
  }
  oneOf(agent.schemaVersion, ["1.0", "1.1"], [...path, "schemaVersion"], report);
  checkRuntime(agent.runtime, [...path, "runtime"], report);

  const system = objectAt(agent, "systemModules", path, report);
  for (const name of ["edgeAgent", "edgeHub"]) {
    if (system[name] === undefined) report([...path, "systemModules", name], "is missing");
  }
  const modules = objectAt(agent, "modules", path, report);
  if (Object.keys(modules).length > maxModules) {
    report([...path, "modules"], `has more than ${maxModules} modules`);
  }
  for (const [group, entries] of Object.entries({ systemModules: system, modules })) {
    for (const [name, module] of Object.entries(entries)) {
      const at = [...path, group, name];
      if (group === "systemModules" && name !== "edgeAgent" && name !== "edgeHub") {
        report(at, "is not a system module");
      }
      if (!moduleName.test(name)) report(at, "a module name is 1 to 128 of A-Z a-z 0-9 _ -");
      if (!isObject(module)) report(at, "is not an object");
      else checkModule(name, module, agent.schemaVersion, at, report);
    }
  }
  return new Set(Object.keys(modules));
}

function checkRuntime(runtime: JsonValue | undefined, path: readonly string[], report: Report): void {
  if (!isObject(runtime)) {
    report(path, "is missing");
    return;
  }
  oneOf(runtime.type, ["docker"], [...path, "type"], report);
  const settings = objectAt(runtime, "settings", path, report);
  if (typeof settings.minDockerVersion !== "string") {
    report([...path, "settings", "minDockerVersion"], "is missing, such as v1.25");
  }
  const credentials = settings.registryCredentials ?? {};
  const at = [...path, "settings", "registryCredentials"];
  if (!isObject(credentials)) {
    report(at, "is not an object");
    return;
  }
  for (const [name, entry] of Object.entries(credentials)) {
    if (!entryName.test(name)) report([...at, name], "a registry's name has no . $ # or space");
    for (const key of ["address", "username", "password"]) {
      const value = isObject(entry) ? entry[key] : undefined;
      if (typeof value !== "string" || value === "") report([...at, name, key], "is missing or empty");
    }
  }
}

function checkModule(
  name: string,
  module: JsonObject,
  schemaVersion: JsonValue | undefined,
  path: readonly string[],
  report: Report,
): void {
  oneOf(module.type, ["docker"], [...path, "type"], report);
  if (name === "edgeAgent") {
    for (const key of Object.keys(module)) {
      if (!agentModuleKeys.has(key)) report([...path, key], "edgeAgent has no such choice");
    }
  } else {
    oneOf(module.status, ["running", "stopped"], [...path, "status"], report);
    const policies = ["never", "on-failure", "on-unhealthy", "always"];
    oneOf(module.restartPolicy, policies, [...path, "restartPolicy"], report);
  }
  if (module.imagePullPolicy !== undefined) {
    oneOf(module.imagePullPolicy, ["on-create", "never"], [...path, "imagePullPolicy"], report);
  }
  const order = module.startupOrder;
  if (order !== undefined) {
    if (!isIntegerIn(order, 0, 4_294_967_295)) {
      report([...path, "startupOrder"], "is an integer from 0 to 4294967295");
    }
    if (schemaVersion === "1.0") report([...path, "startupOrder"], "needs schemaVersion 1.1 of edgeAgent");
  }
  const environment = module.env ?? {};
  if (!isObject(environment)) report([...path, "env"], "is not an object");
  else {
    for (const [key, entry] of Object.entries(environment)) {
      const value = isObject(entry) ? entry.value : undefined;
      if (!environmentName.test(key)) report([...path, "env", key], "a name has no + # $ . or space");
      if (!["string", "number", "boolean"].includes(typeof value)) {
        report([...path, "env", key], "is { value: string, number or boolean }");
      }
    }
  }
  const settings = objectAt(module, "settings", path, report);
  const reference = settings.image;
  if (typeof reference !== "string" || reference === "") {
    report([...path, "settings", "image"], "is missing");
  } else if (!image.test(reference)) {
    report([...path, "settings", "image"], `\`${reference}\` is not an image reference`);
  }
  const options = checkCreateOptions(settings, [...path, "settings"], report);
  checkAzureContainer(module, options, path, report);
}

/** @returns what they say, where it can be read */
function checkCreateOptions(
  settings: JsonObject,
  path: readonly string[],
  report: Report,
): JsonValue | undefined {
  const keys = Object.keys(settings)
    .filter((key) => key.startsWith("createOptions"))
    .sort();
  let text = "";
  for (const [n, key] of keys.entries()) {
    const expected = `createOptions${n === 0 ? "" : String(n).padStart(2, "0")}`;
    if (key !== expected) {
      report([...path, key], `a piece is missing before it: ${expected}`);
      return undefined;
    }
    const piece = settings[key];
    if (typeof piece !== "string") {
      report([...path, key], "is a string that holds JSON");
      return undefined;
    }
    if (piece.length > createOptionsPieceLength) {
      report([...path, key], `is longer than ${createOptionsPieceLength} characters`);
    }
    text += piece;
  }
  // iotedgedev writes no more, and edgeAgent reads up to 100.
  if (keys.length > 8) report([...path, "createOptions"], "is longer than 8 pieces");
  if (text === "") return undefined;
  try {
    const options: JsonValue = JSON.parse(text);
    if (!isObject(options)) report([...path, "createOptions"], "is JSON, but not an object");
    return options;
  } catch (cause) {
    report([...path, "createOptions"], `the joined pieces are not JSON: ${(cause as Error).message}`);
    return undefined;
  }
}

// --- $edgeHub -----------------------------------------------------------------------------------

function checkHub(hub: JsonObject | undefined, deployed: ReadonlySet<string>, report: Report): void {
  const path = ["modulesContent", "$edgeHub", "properties.desired"];
  if (hub === undefined) {
    report(path.slice(0, 2), "is missing");
    return;
  }
  oneOf(hub.schemaVersion, ["1.0", "1.1", "1.2", "1.3"], [...path, "schemaVersion"], report);
  const forward = objectAt(hub, "storeAndForwardConfiguration", path, report);
  if (!Number.isSafeInteger(forward.timeToLiveSecs)) {
    report([...path, "storeAndForwardConfiguration", "timeToLiveSecs"], "is an integer");
  }
  for (const [name, entry] of Object.entries(objectAt(hub, "routes", path, report))) {
    const at = [...path, "routes", name];
    if (!entryName.test(name)) report(at, "a route's name has no . $ # or space");
    if (isObject(entry)) {
      if (hub.schemaVersion === "1.0") report(at, "an object needs schemaVersion 1.1 of edgeHub");
      for (const key of Object.keys(entry)) {
        if (!["route", "priority", "timeToLiveSecs"].includes(key)) report([...at, key], "is unknown");
      }
      if (entry.priority !== undefined && !isIntegerIn(entry.priority, 0, 9)) {
        report([...at, "priority"], "is an integer from 0, the highest, to 9");
      }
      if (entry.timeToLiveSecs !== undefined && !isIntegerIn(entry.timeToLiveSecs, 0, 4_294_967_295)) {
        report([...at, "timeToLiveSecs"], "is an integer from 0, which means the hub's own, to 4294967295");
      }
    }
    const text = isObject(entry) ? entry.route : entry;
    if (typeof text === "string") checkRoute(text, deployed, at, report);
    else report(at, "is a text, or an object with `route`");
  }
}

function checkRoute(
  text: string,
  deployed: ReadonlySet<string>,
  path: readonly string[],
  report: Report,
): void {
  try {
    parseRoute(path.at(-1) ?? "", text);
  } catch (cause) {
    report(path, (cause as Error).message);
    return;
  }
  for (const [, name = ""] of text.matchAll(/\/modules\/([^/*\s"]+)\//gi)) {
    if (!deployed.has(name)) report(path, `names the module ${name}, which is not deployed`);
  }
}

// --- Twins --------------------------------------------------------------------------------------

const maxTwinBytes = 32 * 1024;
const maxDepth = 10;

/**
 * Limits of a module's desired properties; names as edge hub judges them, which is stricter by `#`.
 * Sizes as IoT Hub counts: keys and strings in UTF-8, a number 8, a boolean 4.
 */
function checkTwin(desired: JsonObject, path: readonly string[], report: Report): void {
  const size = (value: JsonValue, at: readonly string[], depth: number): number => {
    if (typeof value === "string") {
      if (Buffer.byteLength(value) > 4096) report(at, "is longer than 4 KB");
      if (/\$\{[^}]*\}|\$[A-Z][A-Z0-9_]+\b/.test(value)) report(at, `holds an open placeholder: ${value}`);
      return Buffer.byteLength(value);
    }
    if (typeof value === "number") {
      if (Number.isInteger(value) && !isIntegerIn(value, -(2 ** 52), 2 ** 52 - 1)) {
        report(at, "is an integer outside -2^52 to 2^52-1");
      }
      return 8;
    }
    if (typeof value === "boolean") return 4;
    if (value === null) {
      report(at, "is null; a manifest holds values");
      return 0;
    }
    if (depth > maxDepth) {
      report(at, `is nested deeper than ${maxDepth} levels`);
      return 0;
    }
    let bytes = 0;
    for (const [key, inner] of Object.entries(value)) {
      if (!Array.isArray(value)) {
        bytes += Buffer.byteLength(key);
        if (Buffer.byteLength(key) > 1024 || !entryName.test(key)) {
          report([...at, key], "a name has at most 1 KB and no . $ # space or control character");
        }
      }
      bytes += size(inner, [...at, key], depth + 1);
    }
    return bytes;
  };
  const bytes = size(desired, path, 0);
  if (bytes > maxTwinBytes) report(path, `has ${bytes} bytes; a twin holds ${maxTwinBytes}`);
}

// --- Values -------------------------------------------------------------------------------------

function objectAt(parent: JsonObject, key: string, path: readonly string[], report: Report): JsonObject {
  const value = parent[key];
  if (isObject(value)) return value;
  report([...path, key], "is missing or not an object");
  return {};
}

function oneOf(
  value: JsonValue | undefined,
  allowed: readonly string[],
  path: readonly string[],
  report: Report,
): void {
  if (typeof value !== "string" || !allowed.includes(value)) {
    report(
      path,
      `is ${value === undefined ? "missing" : JSON.stringify(value)}; allowed: ${allowed.join(", ")}`,
    );
  }
}

function isIntegerIn(value: JsonValue, min: number, max: number): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= min && value <= max;
}
