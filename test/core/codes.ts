import { HeadgateError } from "../../src/core/errors.ts";

/** The code of the error that `work` ends with, or "none". */
export async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work();
    return "none";
  } catch (error) {
    if (error instanceof HeadgateError) return error.code;
    throw error;
  }
}
