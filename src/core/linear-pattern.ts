import { createRequire } from "node:module";
import type { RE2JS } from "re2js";
import { messageOf } from "./errors.ts";

/** A regular expression whose matching takes time in proportion to the text, whatever both are (RE2). */
export interface LinearPattern {
  /** Of its named groups. */
  readonly names: readonly string[];
  /** What the named groups took of the whole text; undefined when the whole text does not match. */
  match(text: string): readonly (readonly [name: string, value: string])[] | undefined;
}

export const maxPatternLength = 500;
/**
 * In proportion to the pattern, too: a text of 4,096 characters takes up to 0.3 ms of a PC for each instruction that the
 * pattern compiles to, and a pattern comes from a twin.
 */
const maxInstructions = 256;
/** What `{…}` repeats is compiled so many times, and compiling takes time as well. */
const maxRepeats = 500;

const require = createRequire(import.meta.url);

/** A pattern, or what is wrong with the text. Loads the library when the first one is compiled: it costs 3 MB. */
export function compilePattern(text: string): LinearPattern | { readonly problem: string } {
  if (text.length > maxPatternLength) return { problem: `is longer than ${maxPatternLength} characters` };
  const repeats = [...text.matchAll(/\{(\d+)(?:,(\d*))?\}/g)].reduce(
    (sum, [, least, most]) => sum + Number(most || least),
    0,
  );
  if (repeats > maxRepeats) return { problem: `repeats more than ${maxRepeats} times in all` };
  const library = require("re2js") as { readonly RE2JS: typeof RE2JS };
  let compiled: RE2JS;
  try {
    compiled = library.RE2JS.compile(text);
  } catch (error) {
    return { problem: messageOf(error) };
  }
  if (compiled.programSize() > maxInstructions) {
    return {
      problem: `compiles to ${compiled.programSize()} instructions; at most ${maxInstructions} are allowed`,
    };
  }
  const names = Object.keys(compiled.namedGroups());
  return {
    names,
    match: (subject) => {
      const matcher = compiled.matcher(subject);
      if (!matcher.matches()) return undefined;
      return names.flatMap((name) => {
        const value = matcher.group(name);
        return value === null ? [] : [[name, value] as const];
      });
    },
  };
}
