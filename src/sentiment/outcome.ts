export type Label = "positive" | "neutral" | "negative" | "mixed";

export interface Sentiment {
  readonly label: Label;
  /** 0 negative … 1 positive. */
  readonly score: number;
  /** Of v2 `positive` alone. */
  readonly scores: { readonly positive: number; readonly neutral?: number; readonly negative?: number };
  /** Codes of the container. */
  readonly warnings: readonly string[];
}

/** Why a text has no score, and will have none: it is asked for once more in vain. */
export interface DocumentError {
  readonly error: { readonly code: string; readonly message: string };
}

export type PartOutcome = Sentiment | DocumentError;
/** `parts`: into how many a text was split. */
export type Outcome = (Sentiment & { readonly parts: number }) | DocumentError;

export const isError = (outcome: object): outcome is DocumentError => "error" in outcome;
