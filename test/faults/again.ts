import { TransientError } from "../../src/core/errors.ts";

/** What fails for the moment is repeated, as the gateway does; damage that is found late is one of these. */
export function again<T>(work: () => T): T {
  for (let attempt = 1; ; attempt++) {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof TransientError) || attempt === 5) throw error;
    }
  }
}
