import type { Commit } from "../store/contract.ts";

type Answers = Pick<Commit, "acknowledged" | "rejected">;

/** They may wait this long for company; a crash in between repeats the messages, no more. */
const mostDelayMs = 1_000;
/** So many acknowledged messages make room for the next ones to be composed, which waits for a commit. */
const many = 32;

/** What the hub said of messages, until a commit takes it along. */
export class HubAnswers {
  #acknowledged: number[] = [];
  #rejected: Commit["rejected"][number][] = [];
  #sinceMs: number | undefined;

  acknowledge(message: number, nowMs: number): void {
    this.#acknowledged.push(message);
    this.#sinceMs ??= nowMs;
  }

  reject(message: number, reason: string, nowMs: number): void {
    this.#rejected.push({ message, reason });
    this.#sinceMs ??= nowMs;
  }

  get areMany(): boolean {
    return this.#acknowledged.length >= many;
  }

  /** Monotonic ms at which they are to be committed, infinite where there are none. */
  dueMs(maxLossMs: number): number {
    if (this.#sinceMs === undefined) return Number.POSITIVE_INFINITY;
    return this.#sinceMs + Math.min(mostDelayMs, maxLossMs);
  }

  take(): Answers {
    this.#sinceMs = undefined;
    return { acknowledged: this.#acknowledged.splice(0), rejected: this.#rejected.splice(0) };
  }

  /** The commit that was to take them did not happen; the next one takes them. */
  putBack({ acknowledged, rejected }: Answers): void {
    this.#acknowledged.unshift(...acknowledged);
    this.#rejected.unshift(...rejected);
  }
}
