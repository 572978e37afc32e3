/** Why a request is not scored: a value, because bad input is no exception. */
export interface Refusal {
  readonly refusal:
    | "malformed"
    | "noData"
    | "ragged"
    | "notANumber"
    | "notFinite"
    | "badShape"
    | "badType"
    | "badLength"
    | "unknownTensor"
    | "unsuitableModel"
    | "badImage"
    | "imageTooLarge"
    /** The runtime failed at these tensors. */
    | "modelFailed"
    /** The scorer at the other end failed, or its answer is none. */
    | "remoteFailed"
    /** No model is loaded at the moment. */
    | "notReady"
    | "busy"
    | "stopping"
    /** The model's thread was lost while it scored, or nobody waits for the answer any more. */
    | "lost"
    | "cancelled";
  readonly message: string;
  /** When to come back, if somebody said so. */
  readonly retryAfterS?: number;
}

export const refuse = (refusal: Refusal["refusal"], message: string): Refusal => ({ refusal, message });

export function isRefusal(value: object): value is Refusal {
  return "refusal" in value;
}
