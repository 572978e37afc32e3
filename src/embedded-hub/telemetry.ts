import { closeSync, openSync, writeSync } from "node:fs";
import type { Counters } from "./counters.ts";
import { messageBytes, messageJson, type ReceivedMessage } from "./messages.ts";

export interface RecordLimits {
  readonly maxMessages: number;
  readonly maxBytes: number;
}

/**
 * A bounded record of messages: the newest in memory, all of them as JSON lines in a file when one is given.
 * The file is as large as the messages it was asked to hold.
 */
export class MessageRecord {
  readonly #name: string;
  readonly #limits: RecordLimits;
  readonly #counters: Counters;
  readonly #kept: ReceivedMessage[] = [];
  #keptBytes = 0;
  #file: number | undefined;

  /** `name` begins the names of the counters: `name`, `nameEvicted`. @throws the error of opening `path` */
  constructor(name: string, limits: RecordLimits, counters: Counters, path: string | undefined) {
    this.#name = name;
    this.#limits = limits;
    this.#counters = counters;
    this.#file = path === undefined ? undefined : openSync(path, "a");
  }

  get messages(): readonly ReceivedMessage[] {
    return this.#kept;
  }

  /**
   * Adds a message. When this returns, its line is written to the file, so that a message acknowledged afterwards
   * is in there even if this process is then killed. @throws the error of writing; the message is then not added.
   */
  add(message: ReceivedMessage): void {
    if (this.#file !== undefined) {
      const line = Buffer.from(`${JSON.stringify(messageJson(message))}\n`);
      for (let written = 0; written < line.length; ) written += writeSync(this.#file, line, written);
    }
    this.#counters.add(this.#name);
    this.#kept.push(message);
    this.#keptBytes += messageBytes(message);
    while (this.#kept.length > this.#limits.maxMessages || this.#keptBytes > this.#limits.maxBytes) {
      const oldest = this.#kept.shift();
      if (oldest === undefined) break;
      this.#keptBytes -= messageBytes(oldest);
      this.#counters.add(`${this.#name}Evicted`);
    }
  }

  /** At most `limit` messages with a sequence above `after`, oldest first. */
  page(after: number, limit: number): readonly ReceivedMessage[] {
    const start = this.#kept.findIndex((message) => message.sequence > after);
    return start < 0 ? [] : this.#kept.slice(start, start + limit);
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}
