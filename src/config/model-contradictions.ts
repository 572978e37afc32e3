import type { Problem } from "../core/errors.ts";
import type { Config } from "./schema.ts";

/** What a model needs to be found, and to be known again. */
export function modelContradictions({ models }: Config): Problem[] {
  const problems: Problem[] = [];
  for (const [name, { state, file, url, sha256 }] of Object.entries(models)) {
    if (state === "off") continue;
    const path = `models.${name}`;
    if (file === undefined && url === undefined)
      problems.push({
        path: `${path}.file`,
        message: "is missing",
        hint: "name a file, or a url with sha256",
      });
    if (file !== undefined && url !== undefined)
      problems.push({ path: `${path}.url`, message: "stands beside file", hint: "leave one of them out" });
    if (url !== undefined && sha256 === undefined) {
      const message = "is missing: nothing else says that what the url brings is the model";
      problems.push({ path: `${path}.sha256`, message, hint: "sha256sum FILE tells it" });
    }
  }
  return problems;
}
