import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { strippedFile, strippedFolder } from "./stripped-file.js";

const project = fileURLToPath(new URL("../..", import.meta.url));

/** What processes that are started from here take, so that they load stripped sources. */
export const nodeOptions = `--import=${new URL("./stripped-preload.js", import.meta.url).href}`;

/** Takes the types out of the sources that changed since the last time, and forgets what they were before. */
export default function stripSources(): void {
  mkdirSync(strippedFolder, { recursive: true });
  const current = new Set<string>();
  for (const folder of ["src", "test"].map((name) => join(project, name))) {
    for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
      if (!name.endsWith(".ts") || /\.(d|test)\.ts$/.test(name)) continue;
      const file = join(folder, name);
      const stripped = strippedFile(file, statSync(file));
      current.add(basename(stripped));
      if (existsSync(stripped)) continue;
      // A process that loads it meanwhile finds all of it or nothing.
      writeFileSync(`${stripped}.${process.pid}`, stripTypeScriptTypes(readFileSync(file, "utf8")));
      renameSync(`${stripped}.${process.pid}`, stripped);
    }
  }
  for (const name of readdirSync(strippedFolder))
    if (name.endsWith(".js") && !current.has(name)) rmSync(join(strippedFolder, name), { force: true });
}
