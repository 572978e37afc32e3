import { Duplex } from "node:stream";
import { PacketError } from "./publish-sieve.ts";

/** From one read to the next. */
const spacingMs = 5;
/** A read that brings so much is followed by another at once. */
const streamingBytes = 16_384;

/** What waits here while nothing can be taken; so far it is read, to notice the end of the connection. */
const waitingBytes = 65_536;
const nothing = Buffer.alloc(0);

/** A connection, and what reads its next piece. */
export interface Connection {
  readonly stream: Duplex;
  readonly readOn: () => void;
}

/** Looks at what comes in before it is handed on. */
export interface Sieve {
  /** Returns what is handed on. @throws PacketError, with which the stream ends */
  sift(bytes: Buffer): Buffer;
  /** It can take nothing more, until it is offered again what it has. */
  readonly isHeld: boolean;
}

/**
 * A connection that is read at most every few milliseconds, so that many small packets are handled together: waking up
 * for each costs more than the packets themselves. What comes meanwhile waits in the kernel, as it does for a slow
 * reader. (Network cards do the same, and call it interrupt coalescing.)
 */
export class CoalescedStream extends Duplex {
  readonly #inner: Duplex;
  readonly #readOn: () => void;
  readonly #sieve: Sieve;
  /** What one read brought, for TLS hands over each record by itself; while the sieve is held, more of them. */
  #pieces: Buffer[] = [];
  #bytes = 0;
  #delivery: NodeJS.Immediate | undefined;
  #rest: NodeJS.Timeout | undefined;
  #isWanted = false;
  #hasEnded = false;

  /** `open` makes a connection that hands over its next piece when it is told to; it need not stand yet. */
  constructor(open: (received: (bytes: Buffer) => void) => Connection, sieve: Sieve) {
    super({ allowHalfOpen: false });
    this.#sieve = sieve;
    const { stream, readOn } = open((bytes) => {
      this.#pieces.push(bytes);
      this.#bytes += bytes.length;
      this.#delivery ??= setImmediate(() => this.#deliver());
    });
    this.#inner = stream;
    this.#readOn = readOn;
    stream.on("error", (error) => this.destroy(error));
    stream.on("end", () => {
      this.#deliver();
      // What is held now gets no answer any more, and comes again.
      this.#hasEnded = true;
      this.push(null);
    });
    stream.on("close", () => {
      // What was received before is read first.
      if (!stream.readableEnded) this.destroy();
    });
  }

  /** Offers again what the sieve held. Returns whether it goes on. */
  goOn(): boolean {
    this.#offer(nothing);
    if (!this.#sieve.isHeld) this.#sift();
    this.#resume();
    return !this.#sieve.isHeld;
  }

  #deliver(): void {
    clearImmediate(this.#delivery);
    this.#delivery = undefined;
    const isStreaming = this.#bytes >= streamingBytes;
    if (!this.#sieve.isHeld) this.#sift();
    if (isStreaming) this.#resume();
    else
      this.#rest ??= setTimeout(() => {
        this.#rest = undefined;
        this.#resume();
      }, spacingMs);
  }

  #sift(): void {
    const bytes = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#bytes = 0;
    this.#offer(bytes);
  }

  #offer(bytes: Buffer): void {
    if (this.#hasEnded) return;
    let passed: Buffer;
    try {
      passed = this.#sieve.sift(bytes);
    } catch (error) {
      if (!(error instanceof PacketError)) throw error;
      this.#hasEnded = true;
      this.destroy(error);
      return;
    }
    if (passed.length > 0) this.#isWanted = this.push(passed);
  }

  #resume(): void {
    const isBusy = this.#delivery !== undefined || this.#rest !== undefined || this.#bytes >= waitingBytes;
    if (this.#isWanted && !isBusy) this.#readOn();
  }

  override _read(): void {
    this.#isWanted = true;
    this.#resume();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#inner.write(bytes, done);
  }

  /** In one write what was written corked. */
  override _writev(
    chunks: readonly { readonly chunk: Buffer }[],
    done: (error?: Error | null) => void,
  ): void {
    this.#inner.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#inner.destroyed) done();
    else this.#inner.end(() => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#hasEnded = true;
    clearImmediate(this.#delivery);
    clearTimeout(this.#rest);
    this.#inner.destroy();
    done(error);
  }
}
