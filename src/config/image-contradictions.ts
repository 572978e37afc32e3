import { resolve, sep } from "node:path";
import type { Problem } from "../core/errors.ts";
import type { Config, ImageFolderSourceConfig, ImageSourceConfig, ImageUrlSourceConfig } from "./schema.ts";

/** What a source of pictures needs of the rest of the configuration. */
export function imageContradictions(source: ImageSourceConfig, path: string, { models }: Config): Problem[] {
  const problems: Problem[] = [];
  const model = Object.hasOwn(models, source.model) ? models[source.model] : undefined;
  if (model?.state !== "on") {
    const names = Object.keys(models).filter((name) => models[name]?.state === "on");
    problems.push({
      path: `${path}.model`,
      message: model ? `the model ${source.model} is off` : `there is no model ${source.model}`,
      hint: names.length === 0 ? "add it to models" : `there are: ${names.join(", ")}`,
    });
  }
  if (source.upload && !source.keep)
    problems.push({
      path: `${path}.upload`,
      message: "no picture is kept that could be uploaded",
      hint: "set keep",
    });
  if (source.top === 0 && source.labels.length === 0)
    problems.push({
      path: `${path}.top`,
      message: "nothing of a picture is told",
      hint: "name labels, or set top",
    });
  return problems;
}

export function moveContradictions(
  { folder, afterwards, moveTo }: ImageFolderSourceConfig,
  path: string,
): Problem[] {
  if (afterwards === "delete") {
    if (moveTo === undefined) return [];
    return [{ path: `${path}.moveTo`, message: "pictures are deleted", hint: `set "afterwards": "move"` }];
  }
  if (moveTo === undefined)
    return [
      { path: `${path}.moveTo`, message: "is missing", hint: `name a folder, or set "afterwards": "delete"` },
    ];
  const [from, to] = [resolve(folder), resolve(moveTo)];
  if (to !== from && to !== resolve(folder, "rejected") && !to.startsWith(resolve(folder, "rejected") + sep))
    return [];
  return [{ path: `${path}.moveTo`, message: "is the watched folder itself, or that of rejected pictures" }];
}

/** A condition is of a source that is on, and comes of alarms. */
export function conditionContradictions(
  { when }: ImageUrlSourceConfig,
  path: string,
  { alarms, sources }: Config,
): Problem[] {
  if (!when) return [];
  const problems: Problem[] = [];
  if (alarms.state === "off")
    problems.push({ path: `${path}.when`, message: "there are no alarms, because alarms.state is off" });
  const isThere = when.source === undefined || Object.hasOwn(sources, when.source);
  if (!isThere) problems.push({ path: `${path}.when.source`, message: `there is no source ${when.source}` });
  if (when.device === undefined && when.source === undefined)
    problems.push({ path: `${path}.when`, message: "names neither a device nor a source" });
  return problems;
}
