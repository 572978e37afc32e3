import { type ErrorCode, TransientError } from "../core/errors.ts";

/** A device that cannot be read now, and whether it is missing or there and unusable. */
export class Unavailable extends TransientError {
  readonly state: "absent" | "failed";
  constructor(code: ErrorCode, state: "absent" | "failed", message: string, options?: ErrorOptions) {
    super(code, message, options);
    this.state = state;
  }
}
