/** So often a message may end a connection before it goes alone, and before it is left out. */
const alone = 2;
const skipped = 5;
/** Where it begins again when the others did not pass either. */
const again = 3;
/** Before each try of a message that is left out; the last one for all that follow. It fails as often before it is given up. */
const pausesMs = [60_000, 120_000, 240_000, 480_000, 960_000];
/** And that all of its tries failed must be no more likely than this, if it were a message like the others. */
const unlikely = 0.001;
/** Messages that are remembered; one that is forgotten begins anew. */
const maxSuspects = 4_096;

interface Suspect {
  /** Connections that ended at it, until it was left out. */
  failures: number;
  /** Tries that failed since then. */
  tries: number;
  /** When it is tried again; undefined as long as no other was seen to pass. */
  retryMs: number | undefined;
  /** Of all messages, when that was seen. */
  passed: number;
  failed: number;
}

/**
 * MQTT has no answer for a message that the hub cannot bear: it ends the connection, every time. A message that does so
 * is first sent alone, then left out. If another passes then, it is not the hub; the others go on, and the message is
 * tried now and then. If none passes, more are left out, twice as many each time, because there may be several in a
 * row, and then all are taken back. A bad line looks the same for a while: so a try counts against a message only on a
 * connection on which another has passed, and it is given up only when the others fail far less often. Times are
 * monotonic ms.
 */
export class Suspicion {
  /** By sequence. */
  readonly #suspects = new Map<number, Suspect>();
  /** How many may be left out before anything passes. */
  #mostUnproven = 1;
  /** Another message has passed on this connection. */
  #isProven = false;
  /** There is no other to see it by. */
  #isOnlyOne = false;
  /** Messages confirmed, and connections ended at one that is not left out. */
  #passed = 0;
  #failed = 0;

  /** A connection stands on which nothing was sent yet. */
  connected(): void {
    this.#isProven = false;
    this.#isOnlyOne = false;
  }

  /** Sends of one message only, so that it is known which one ends the connection. */
  isAlone(nowMs: number): boolean {
    const isSuspected = ({ failures, retryMs }: Suspect) => failures >= alone && retryMs === undefined;
    return this.due(nowMs) !== undefined || [...this.#suspects.values()].some(isSuspected);
  }

  /** The message is not sent now. */
  isLeftOut(sequence: number, nowMs: number): boolean {
    const suspect = this.#suspects.get(sequence);
    return suspect !== undefined && suspect.failures >= skipped && this.due(nowMs) !== sequence;
  }

  /** A message is tried that ends connections while others pass: what ends now, ends for its sake. */
  isTrying(nowMs: number): boolean {
    return this.#isProven && this.due(nowMs) !== undefined;
  }

  /** A message whose turn has come again. */
  due(nowMs: number): number | undefined {
    if (!this.#isProven && !this.#isOnlyOne) return undefined;
    for (const [sequence, { retryMs }] of this.#suspects)
      if (retryMs !== undefined && nowMs >= retryMs) return sequence;
    return undefined;
  }

  /** How long until the next one's turn; undefined when there is none to come. */
  waitMs(nowMs: number): number | undefined {
    let least: number | undefined;
    for (const { retryMs } of this.#suspects.values())
      if (retryMs !== undefined && retryMs > nowMs) least = Math.min(least ?? retryMs, retryMs);
    return least === undefined ? undefined : least - nowMs;
  }

  /** The connection ended; `first` is the first message that was not confirmed. Returns the message that is given up. */
  failed(first: number, nowMs: number): number | undefined {
    const suspect = this.#suspects.get(first) ?? this.#suspected(first);
    if (suspect.failures < skipped) {
      suspect.failures++;
      this.#failed++;
      if (suspect.failures === skipped) this.#leaveOut(suspect);
      return undefined;
    }
    if (first !== this.due(nowMs)) return undefined;
    if (this.#isProven) suspect.tries++;
    if (this.#isGuilty(suspect)) {
      this.#suspects.delete(first);
      return first;
    }
    suspect.retryMs = nowMs + pauseMs(suspect.tries);
    return undefined;
  }

  /** Nothing else is there to be sent, so whether others pass cannot be seen. True when there may be something now. */
  tryAgain(): boolean {
    const wasOnlyOne = this.#isOnlyOne;
    this.#isOnlyOne = true;
    return this.#takeBack(skipped - 1) || (!wasOnlyOne && this.#suspects.size > 0);
  }

  /** A message was refused for good, or is there no more. */
  settled(sequence: number): void {
    this.#suspects.delete(sequence);
  }

  /** A message was confirmed. */
  passed(sequence: number, nowMs: number): void {
    this.#isProven = true;
    this.#mostUnproven = 1;
    this.#passed++;
    const acquitted = this.#suspects.get(sequence);
    // It was the line after all.
    if (acquitted && acquitted.failures >= skipped) this.#failed += acquitted.failures + acquitted.tries;
    this.settled(sequence);
    for (const suspect of this.#unproven) {
      suspect.retryMs = nowMs + pauseMs(0);
      suspect.passed = this.#passed;
      suspect.failed = this.#failed;
    }
  }

  #suspected(sequence: number): Suspect {
    const suspect = { failures: 0, tries: 0, retryMs: undefined, passed: 0, failed: 0 };
    this.#suspects.set(sequence, suspect);
    const [oldest] = this.#suspects.keys();
    if (this.#suspects.size > maxSuspects && oldest !== undefined) this.#suspects.delete(oldest);
    return suspect;
  }

  get #unproven(): Suspect[] {
    return [...this.#suspects.values()].filter((s) => s.failures >= skipped && s.retryMs === undefined);
  }

  #leaveOut(suspect: Suspect): void {
    // What it did says nothing of the line, unless it is taken back.
    this.#failed -= suspect.failures;
    if (this.#unproven.length <= this.#mostUnproven) return;
    this.#mostUnproven = Math.min(maxSuspects / 2, 2 * this.#mostUnproven);
    this.#takeBack(again);
  }

  /** Those of which nobody knows whether it was the hub. */
  #takeBack(failures: number): boolean {
    const all = this.#unproven;
    for (const suspect of all) {
      suspect.failures = failures;
      this.#failed += failures;
    }
    return all.length > 0;
  }

  #isGuilty({ tries, passed, failed }: Suspect): boolean {
    const failures = Math.max(0, this.#failed - failed);
    // One more of each than was seen: few observations prove little (rule of succession).
    const failing = (failures + 1) / (this.#passed - passed + failures + 2);
    return tries >= pausesMs.length && failing ** tries < unlikely;
  }
}

const pauseMs = (tries: number): number => pausesMs[Math.min(tries, pausesMs.length - 1)] ?? 0;
