import { hostname } from "node:os";
import type { JsonObject, JsonValue } from "../core/json.ts";
import { isObject } from "../core/json.ts";

/**
 * Defaults that are entries of maps, and those that depend on the machine.
 * Channel spellings and ranges: the ones a widely copied serverless environment-sensor sample accepts
 * (−40…80 °C, 600…1600 hPa, 0…100 % relative humidity).
 */
export function defaultLayer(environment: NodeJS.ProcessEnv): JsonObject {
  return {
    gateway: { name: environment.IOTEDGE_DEVICEID ?? hostname() },
    channels: {
      temperature: {
        aliases: ["Temperature", "temp", "Temp", "Celsius", "celsius", "temperature_C"],
        unit: "°C",
      },
      pressure: { aliases: ["Pressure", "hPa", "press", "pressure_hPa"], unit: "hPa" },
      humidity: { aliases: ["Humidity", "RH", "rh", "hum"], unit: "%" },
    },
    validate: {
      climate: {
        channels: {
          temperature: { min: -40, max: 80 },
          pressure: { min: 600, max: 1600 },
          humidity: { min: 0, max: 100 },
        },
      },
    },
    ...(isModule(environment) ? { hub: { type: "edge" } } : {}),
  };
}

/** What `ModuleClient.fromEnvironment` of the Azure SDK looks for: the workload API, or a connection string. */
function isModule(environment: NodeJS.ProcessEnv): boolean {
  const { IOTEDGE_WORKLOADURI, EdgeHubConnectionString, IotHubConnectionString } = environment;
  return Boolean(IOTEDGE_WORKLOADURI || EdgeHubConnectionString || IotHubConnectionString);
}

/**
 * `HEADGATE__store__path=/data` sets `store.path`. A value that is JSON is taken as such, else as text.
 * Only names that start with `HEADGATE__` belong to the layer.
 */
export function environmentLayer(environment: NodeJS.ProcessEnv): JsonObject {
  let layer: JsonObject = {};
  for (const [name, text] of Object.entries(environment).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!name.startsWith("HEADGATE__") || text === undefined) continue;
    const path = name.slice("HEADGATE__".length).split("__");
    const patch = path.reduceRight<JsonValue>((value, key) => ({ [key]: value }), jsonOrText(text));
    layer = mergePatch(layer, patch as JsonObject);
  }
  return layer;
}

function jsonOrText(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return text;
  }
}

/**
 * The twin's merge rule (RFC 7396 with one reading shared by IoT Hub): objects merge, `null` removes,
 * everything else, arrays included, replaces.
 */
export function mergePatch(base: JsonObject, patch: JsonObject): JsonObject {
  // Entries, not assignment: a key named __proto__ must become a property, to be refused by name later.
  const merged = new Map<string, JsonValue>(Object.entries(base));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else if (isObject(value)) {
      const below = merged.get(key);
      merged.set(key, mergePatch(isObject(below) ? below : {}, value));
    } else merged.set(key, value);
  }
  return Object.fromEntries(merged);
}
