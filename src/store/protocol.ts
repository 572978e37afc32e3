import type { ErrorCode } from "../core/errors.ts";
import type { DeadLetter } from "../outbox/dead-letters.ts";
import type { Done } from "../outbox/message-body.ts";
import type { OutboxMessage } from "../outbox/outbox.ts";
import type { TakenText } from "../sentiment/text-stage.ts";
import type { Commit, Opened, StoreSettings, StoreStatus } from "./contract.ts";

/** What the main thread asks of the store thread; each is answered once, in order. */
export interface Requests {
  /** Fails when the store cannot be opened now; each request that needs it tries again. */
  open: { argument: { folder: string; settings: StoreSettings }; result: undefined };
  configure: { argument: StoreSettings; result: undefined };
  commit: { argument: Commit; result: StoreStatus };
  next: { argument: { done: Done; isBackfillWanted: boolean }; result: OutboxMessage | undefined };
  deadLetters: { argument: undefined; result: readonly DeadLetter[] };
  texts: { argument: { after: number }; result: readonly TakenText[] };
  audit: { argument: undefined; result: StoreStatus["books"] };
  close: { argument: undefined; result: undefined };
}
export type RequestName = keyof Requests;

export type RequestMessage = {
  [N in RequestName]: { readonly id: number; readonly name: N; readonly argument: Requests[N]["argument"] };
}[RequestName];

export type ReplyMessage =
  /** No reply, but news: the store was opened, the first time or again. */
  | { readonly opened: Opened }
  | { readonly id: number; readonly result: unknown }
  | {
      readonly id: number;
      readonly error: SerializedError;
      readonly batch?: Uint8Array;
      readonly status?: StoreStatus;
    };

/** Errors lose their class on the way between threads; this is what is needed to make them again. */
export interface SerializedError {
  readonly kind: "transient" | "permanent" | "bug";
  readonly code: ErrorCode;
  readonly message: string;
  readonly stack: string | undefined;
}
