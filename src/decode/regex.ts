import { InvariantError } from "../core/errors.ts";
import { compilePattern } from "../core/linear-pattern.ts";
import type { FrameFields } from "./reading-reader.ts";

/** What bounds the time that one frame takes, with the bounds of the pattern. */
const maxTextLength = 4_096;

/** The named groups of a pattern that takes the whole text; a group that took nothing of it is absent. */
export function compileRegex(pattern: string): (text: string) => FrameFields {
  const compiled = compilePattern(pattern);
  if ("problem" in compiled)
    throw new InvariantError(`a pattern that no schema lets through ${compiled.problem}`);
  return (text) => {
    if (text.length > maxTextLength) return { discard: "overlong" };
    const fields = compiled.match(text);
    return fields ? [fields] : { discard: "malformed" };
  };
}
