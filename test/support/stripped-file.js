import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";

export const strippedFolder = fileURLToPath(
  new URL("../../node_modules/.cache/headgate-stripped/", import.meta.url),
);

/** Where a file is without its types, as it is now. */
export function strippedFile(file, { size, mtimeMs }) {
  const key = createHash("sha256").update(`${file}\n${size}\n${mtimeMs}`).digest("hex").slice(0, 32);
  return `${strippedFolder}${key}.js`;
}
