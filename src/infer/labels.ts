import { open } from "node:fs/promises";
import { messageOf, PermanentError, TransientError } from "../core/errors.ts";
import { isObject } from "../core/json.ts";
import { expectPlainFile } from "../core/plain-file.ts";

export interface Label {
  /** WordNet's, such as `n01440764`. */
  readonly id: string;
  readonly name: string;
}

/** The 1,000 names of ImageNet take 35 KB. */
const maxBytes = 4_194_304;

/**
 * The names of classes by their index: `{"0": ["n01440764", "tench"], …}`, the two-level index format of ImageNet.
 * @throws TransientError MODEL_UNAVAILABLE, PermanentError MODEL_REFUSED
 */
export async function readLabels(path: string): Promise<readonly Label[]> {
  const refused = (message: string) => new PermanentError("MODEL_REFUSED", `labels ${path}: ${message}`);
  const text = await firstBytes(path);
  if (text.length > maxBytes) throw refused(`more than ${maxBytes} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(text.toString("utf8"));
  } catch (error) {
    // Without the parser's own words, which quote the file: whoever configures may not be who may read it.
    if (error instanceof SyntaxError) throw refused("not JSON");
    throw error;
  }
  if (!isObject(value)) throw refused("no object of index to [id, name]");
  const labels = Object.keys(value).map((_, index) => {
    const entry = (value as Record<string, unknown>)[index];
    const [id, name] = Array.isArray(entry) && entry.length === 2 ? entry : [];
    if (typeof id !== "string" || typeof name !== "string") throw refused(`no [id, name] at ${index}`);
    return { id, name };
  });
  if (labels.length === 0) throw refused("holds no names");
  return labels;
}

/** One byte more than may be there, so that too many show. */
async function firstBytes(path: string): Promise<Buffer> {
  try {
    await expectPlainFile(path);
    const file = await open(path, "r");
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(maxBytes + 1), 0, maxBytes + 1, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    const message = `reading labels ${path}: ${messageOf(error)}`;
    throw new TransientError("MODEL_UNAVAILABLE", message, { cause: error });
  }
}
