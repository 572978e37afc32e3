import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { inFilter, outPrefix } from "../reading.ts";
import { resultsFolder } from "../results.ts";
import { type Program, startNode } from "./program.ts";

const folder = join(resultsFolder, "bare");
const file = join(folder, "bare-program.js");

/** The same without a store. Plain JavaScript, as whatever it is compared with is. */
export const bare: Program = {
  name: "bare",
  async prepare() {
    mkdirSync(folder, { recursive: true });
    const source = readFileSync(new URL("./bare-program.ts", import.meta.url), "utf8");
    writeFileSync(file, stripTypeScriptTypes(source));
  },
  start: (place) => ({ child: startNode(place, [file, place.url, inFilter, outPrefix]) }),
};
