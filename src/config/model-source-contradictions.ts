import type { Problem } from "../core/errors.ts";
import { feedNumbers } from "./feed-numbers.ts";
import type { Config, ModelSourceConfig } from "./schema.ts";

/** As many numbers are fed at once at most; those that wait stand in each snapshot. */
const maxNumbers = 16_384;

/** What a source of type `model` contradicts: itself, and the entries that it names. */
export function modelSourceContradictions(
  source: ModelSourceConfig,
  name: string,
  config: Config,
): Problem[] {
  const path = `sources.${name}`;
  const { inputs, model } = source;
  const problems = [
    ...missing(`${path}.model`, "model", model, config.models),
    ...missing(`${path}.inputs.source`, "source", inputs.source, config.sources),
    ...(inputs.from === "window" ? ofWindow(inputs, path, config) : []),
    ...ofNumbers(source, path),
    ...ofStore(source, path, config),
  ];
  const loop = loopOf(name, config.sources);
  if (loop) {
    const message = `the source would feed itself: ${loop.join(" → ")}`;
    problems.push({
      path: `${path}.inputs.source`,
      message,
      hint: "feed it from a source that reads a device",
    });
  }
  return problems;
}

/** The rows of the tensor, and how many values each has. */
export function extentOf({ inputs }: Pick<ModelSourceConfig, "inputs">): { rows: number; columns: number } {
  return inputs.from === "window"
    ? { rows: inputs.features.length, columns: 1 }
    : { rows: inputs.channels.length, columns: inputs.last };
}

function missing(
  path: string,
  what: string,
  name: string,
  entries: Readonly<Record<string, { readonly state: "on" | "off" }>>,
): Problem[] {
  const entry = entries[name];
  if (entry?.state === "on") return [];
  const known = Object.keys(entries).filter((key) => entries[key]?.state === "on");
  const hint = known.length > 0 ? `known here: ${known.join(", ")}` : `there is no ${what} that is on`;
  return [{ path, message: entry ? `${what} ${name} is off` : `there is no ${what} ${name}`, hint }];
}

function ofWindow(
  inputs: Extract<ModelSourceConfig["inputs"], { from: "window" }>,
  path: string,
  config: Config,
): Problem[] {
  const problems = missing(`${path}.inputs.window`, "window", inputs.window, config.windows);
  const window = config.windows[inputs.window];
  if (problems.length > 0 || !window) return problems;
  const { sources, devices } = window;
  if (sources && !sources.includes(inputs.source)) {
    const message = `window ${inputs.window} takes no readings of source ${inputs.source}`;
    problems.push({
      path: `${path}.inputs.window`,
      message,
      hint: `add it to windows.${inputs.window}.sources`,
    });
  }
  if (devices && inputs.device !== undefined && !devices.includes(inputs.device)) {
    const message = `window ${inputs.window} takes no readings of device ${inputs.device}`;
    problems.push({
      path: `${path}.inputs.device`,
      message,
      hint: `add it to windows.${inputs.window}.devices`,
    });
  }
  return problems;
}

function ofNumbers(source: ModelSourceConfig, path: string): Problem[] {
  const problems: Problem[] = [];
  const { rows, columns } = extentOf(source);
  const count = rows * columns;
  if (count > maxNumbers) {
    const message = `${rows} channels of ${columns} readings are more than ${maxNumbers} numbers`;
    problems.push({ path: `${path}.inputs.last`, message, hint: "feed fewer of them" });
  }
  const { shape, normalisation } = source;
  const elements = shape?.reduce((product, size) => product * size, 1) ?? count;
  if (elements !== count) {
    const message = `[${shape}] takes ${elements} numbers, and the inputs are ${count}`;
    problems.push({ path: `${path}.shape`, message, hint: "leave it out for the usual one" });
  }
  for (const [key, numbers] of Object.entries(normalisation ?? {})) {
    if (numbers.length === rows) continue;
    const what = source.inputs.from === "window" ? "features" : "channels";
    const message = `has ${numbers.length} numbers for ${rows} ${what}`;
    problems.push({ path: `${path}.normalisation.${key}`, message, hint: "give each its own" });
  }
  return problems;
}

/** A run has to find room where those that wait do, a fifth of all. */
function ofStore(source: ModelSourceConfig, path: string, config: Config): Problem[] {
  const { rows, columns } = extentOf(source);
  const room = Math.floor(feedNumbers(config) / 5);
  if (rows * columns <= room) return [];
  const message = `store.maxBytes (${config.store.maxBytes}) has room for runs of ${room} numbers, and these are ${rows * columns}`;
  const hint = "feed fewer of them, have fewer sources of type model, or make the store larger";
  return [{ path: `${path}.inputs`, message, hint }];
}

/** The way from a source back to itself, if its readings go one. */
function loopOf(name: string, sources: Config["sources"]): string[] | undefined {
  const way = [name];
  for (let at = sources[name]; at?.type === "model" && at.state === "on"; at = sources[at.inputs.source]) {
    const { source } = at.inputs;
    if (source === name) return [name, ...way.reverse()];
    // A loop further back is a problem of those who are in it.
    if (way.includes(source)) return undefined;
    way.push(source);
  }
  return undefined;
}
