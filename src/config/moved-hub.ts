import type { Problem } from "../core/errors.ts";
import { fingerprint, isObject, type JsonObject } from "../core/json.ts";

/**
 * Which hub section is in force, and what is known of the twins that said so. Each hub has a twin of its own, and most
 * say nothing of the hub: that must not lead back to the hub that was left.
 */
export interface Move {
  /** In force in place of the file's, which is not merged in; absent: the file's is. */
  readonly hub?: JsonObject;
  /** Fingerprint of the section in file and environment; when that is edited, all of this is forgotten. */
  readonly from: string;
  /**
   * What the present hub's twin says of the hub. `unread`: it said nothing at all since the hub was changed, and the
   * twin layer in force is the one of the hub before.
   */
  readonly twin: "unread" | "names" | "silent";
  /** Fingerprints of hubs that were left, the last one last. */
  readonly left: readonly string[];
}

/** So many hubs that were left are remembered. */
const leftLimit = 8;

export const fingerprintOfHub = (base: JsonObject): string => fingerprint(base.hub ?? null);

/** What a twin makes of the move: the layer that comes into force, without its hub section, and the move. */
export function withTwin(
  base: JsonObject,
  present: { readonly twin: JsonObject; readonly move: Move | undefined },
  twin: JsonObject,
  patch: JsonObject | undefined,
): { readonly twin: JsonObject; readonly move: Move | undefined } {
  const from = fingerprintOfHub(base);
  const move = present.move?.from === from ? present.move : undefined;
  const { hub, ...layer } = twin;
  const left = move?.left ?? [];
  if (isObject(hub)) return { twin: layer, move: { hub, from, twin: "names", left } };
  if (!move) return { twin: layer, move: undefined };
  const isTakenBack = move.twin === "names" || hub === null || patch?.hub === null;
  // A twin that nobody has written to is no wish to forget everything.
  const isEmpty = move.twin === "unread" && Object.keys(twin).length === 0;
  if (isTakenBack) return { twin: isEmpty ? present.twin : layer, move: { from, twin: "silent", left } };
  if (isEmpty) return present;
  return { twin: layer, move: { ...move, twin: "silent" } };
}

/** The move once the hub has changed from one to the other. */
export function moved(move: Move, from: unknown, to: unknown): Move {
  const left = move.left.filter((hub) => hub !== fingerprint(to));
  return { ...move, twin: "unread", left: [...left, fingerprint(from)].slice(-leftLimit) };
}

/** Two twins that name each other's hub must not send the gateway to and fro: only a patch, which is new, leads back. */
export function leadsBack(move: Move | undefined, to: unknown, patch: JsonObject | undefined): Problem[] {
  if (move?.twin !== "unread" || (patch && "hub" in patch) || !move.left.includes(fingerprint(to))) return [];
  const message = "this hub was left, and the first reading of another hub's twin does not lead back to it";
  return [{ path: "hub", message, hint: "write the section again while the gateway is connected" }];
}
