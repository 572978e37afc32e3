import { expect } from "vitest";
import { checkConfig } from "../../src/config/check.ts";
import { ConfigError, type Problem } from "../../src/core/errors.ts";
import type { JsonObject } from "../../src/core/json.ts";

export const good: JsonObject = { gateway: { name: "box" }, hub: { type: "edge" } };

/** The problems of a configuration, by path. */
export function problemsOf(sections: JsonObject, base = good): Map<string, Problem> {
  try {
    checkConfig({ ...base, ...sections });
    return new Map();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.code).toBe("CONFIG_INVALID");
    return new Map(error.problems.map((problem) => [problem.path, problem]));
  }
}
export const paths = (sections: JsonObject) => [...problemsOf(sections).keys()].sort();
