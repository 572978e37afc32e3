import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { plantedDefects } from "./planted.ts";

const project = fileURLToPath(new URL("../..", import.meta.url));

const edits = plantedDefects.flatMap(({ name, edits }) => edits.map((edit) => ({ name, ...edit })));

test.each(edits)("the place of `$name` is in $file, once", ({ file, find }) => {
  expect(readFileSync(join(project, file), "utf8").split(find)).toHaveLength(2);
});
