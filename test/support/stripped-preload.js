/**
 * Preloaded into processes of tests: TypeScript whose types were taken out before is not stripped anew at each start,
 * which is most of what a start costs. A file that is not there, or was changed, is read as usual.
 */
import { readFileSync, statSync } from "node:fs";
import * as module from "node:module";
import { fileURLToPath } from "node:url";
import { strippedFile } from "./stripped-file.js";

// Older versions of Node, which a test starts to be refused, have no hooks.
module.registerHooks?.({
  load(url, context, next) {
    const source = url.startsWith("file:") && url.endsWith(".ts") ? stripped(fileURLToPath(url)) : undefined;
    return source === undefined ? next(url, context) : { format: "module", source, shortCircuit: true };
  },
});

function stripped(file) {
  try {
    return readFileSync(strippedFile(file, statSync(file)), "utf8");
  } catch {
    return undefined;
  }
}
