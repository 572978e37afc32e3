import type { Problem } from "../core/errors.ts";
import type { Config } from "./schema.ts";

/** What a model needs to be found, and to be known again. */
export function modelContradictions({ models }: Config): Problem[] {
  const problems: Problem[] = [];
  for (const [name, model] of Object.entries(models)) {
    if (model.state === "off") continue;
    const path = `models.${name}`;
    const [place, ...others] = (["file", "url", "remote"] as const).filter((key) => model[key] !== undefined);
    if (place === undefined)
      problems.push({
        path: `${path}.file`,
        message: "is missing",
        hint: "name a file, a url with sha256, or a remote scorer",
      });
    for (const other of others)
      problems.push({
        path: `${path}.${other}`,
        message: `stands beside ${place}`,
        hint: "leave one of them out",
      });
    if (model.url !== undefined && model.sha256 === undefined) {
      const message = "is missing: nothing else says that what the url brings is the model";
      problems.push({ path: `${path}.sha256`, message, hint: "sha256sum FILE tells it" });
    }
    // Of what a scorer elsewhere runs, and on how many threads, nothing is known here.
    for (const key of ["sha256", "threads"] as const)
      if (model.remote !== undefined && model[key] !== undefined)
        problems.push({ path: `${path}.${key}`, message: "stands beside remote", hint: "leave it out" });
  }
  return problems;
}
