import type { Config } from "./schema.ts";

/** Of a source of type `model`, in each snapshot: a fifth of it fed and waiting, the rest last readings. */
export const mostNumbers = 327_680;
/** A number in a snapshot takes no more. */
const numberBytes = 20;
/** Of the store, what all of them may take of a snapshot together. */
const storeParts = 16;

/** How many numbers a source of type `model` may keep, so that all of them leave a small store room for readings. */
export function feedNumbers({ sources, store }: Pick<Config, "sources" | "store">): number {
  const fed = Object.values(sources).filter(({ type, state }) => type === "model" && state === "on");
  return Math.min(
    mostNumbers,
    Math.floor(store.maxBytes / storeParts / numberBytes / Math.max(1, fed.length)),
  );
}
