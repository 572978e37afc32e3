import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { resultsFolder } from "../results.ts";

/** `NAME-program.ts` beside this file as plain JavaScript, as whatever it is compared with is. */
export function plainJavaScript(name: string) {
  const folder = join(resultsFolder, name);
  const file = join(folder, `${name}-program.js`);
  return {
    file,
    prepare: async () => {
      mkdirSync(folder, { recursive: true });
      const source = readFileSync(new URL(`./${name}-program.ts`, import.meta.url), "utf8");
      writeFileSync(file, stripTypeScriptTypes(source));
    },
  };
}
