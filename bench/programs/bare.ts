import { inFilter, outPrefix } from "../reading.ts";
import { plainJavaScript } from "./plain-javascript.ts";
import { type Program, startNode } from "./program.ts";

const program = plainJavaScript("bare");

/** The main job without a store. */
export const bare: Program = {
  name: "bare",
  prepare: program.prepare,
  start: (place) => ({ child: startNode(place, [program.file, place.url, inFilter, outPrefix]) }),
};
