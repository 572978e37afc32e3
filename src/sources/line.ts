import type { Unwrap } from "./delimited-framer.ts";

export const newline = 0x0a;
const carriageReturn = 0x0d;

/** A line without the CR that may end it; empty lines are nothing. */
export const unwrapLine: Unwrap = (bytes) => {
  const line = bytes.at(-1) === carriageReturn ? bytes.subarray(0, -1) : bytes;
  return line.length > 0 ? line : undefined;
};
