import { type ErrorCode, TransientError } from "../core/errors.ts";

/** A device that cannot be read now, and whether it is missing or there and unusable. */
export class Unavailable extends TransientError {
  readonly state: "absent" | "failed";
  /** How long the try kept others from the bus. */
  readonly heldUpMs: number;
  constructor(
    code: ErrorCode,
    state: "absent" | "failed",
    message: string,
    options: ErrorOptions & { readonly heldUpMs?: number } = {},
  ) {
    super(code, message, options);
    this.state = state;
    this.heldUpMs = options.heldUpMs ?? 0;
  }
}
