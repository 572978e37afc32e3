import type { Problem } from "../core/errors.ts";

export function formatProblem({ path, message, hint }: Problem): string {
  return `${path ? `${path}: ` : ""}${message}${hint ? ` (${hint})` : ""}`;
}
