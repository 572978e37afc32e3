import { readFile, stat } from "node:fs/promises";

/**
 * A pipe or a terminal would keep whoever opens it waiting, and one of Node's few threads for files with it, for which
 * even the end of the process waits. @throws NodeJS.ErrnoException when nothing is there, Error
 */
export async function expectPlainFile(path: string): Promise<void> {
  if (!(await stat(path)).isFile()) throw new Error(`${path} is no file`);
}

/** @throws as above, and what the system says */
export async function readPlainFile(path: string): Promise<Buffer> {
  await expectPlainFile(path);
  return await readFile(path);
}
