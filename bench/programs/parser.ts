import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { inFilter } from "../reading.ts";
import { plainJavaScript } from "./plain-javascript.ts";
import { type Program, startNode } from "./program.ts";

const program = plainJavaScript("parser");

/** Takes readings and parses them, and does nothing with them. */
export const parser: Program = {
  name: "parser",
  prepare: program.prepare,
  start: (place) => {
    const count = join(place.folder, "readings");
    return {
      child: startNode(place, [program.file, place.url, inFilter, count]),
      counters: async () => ({ frames: existsSync(count) ? Number(readFileSync(count, "utf8")) : 0 }),
    };
  },
};
