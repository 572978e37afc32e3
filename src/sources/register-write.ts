/** What became of a value that was to be set in a device. */
export type WriteOutcome =
  /** The device confirmed it, and says it when asked; `value` may be rounded to what the device can hold. */
  | { readonly kind: "written"; readonly value: number }
  /** The device confirmed it, and says something else when asked. */
  | { readonly kind: "differs"; readonly value: number; readonly readBack: number }
  /** Nothing was sent, and nothing will be. */
  | { readonly kind: "refused"; readonly reason: WriteRefusal; readonly message: string }
  | { readonly kind: "unsent"; readonly message: string }
  | { readonly kind: "exception"; readonly code: number; readonly name: string }
  /** It was sent, and nobody knows whether it is in force. */
  | { readonly kind: "unknown"; readonly message: string };

export type WriteRefusal = "unknownSource" | "unknownChannel" | "notWritable" | "outOfRange";

export function refused(reason: WriteRefusal, message: string): WriteOutcome {
  return { kind: "refused", reason, message };
}
