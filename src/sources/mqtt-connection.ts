import { type IClientOptions, MqttClient, type StreamBuilder } from "mqtt";
import type { Clock } from "../core/clock.ts";
import { within } from "../core/deadline.ts";
import { messageOf, PermanentError, TransientError } from "../core/errors.ts";
import { readPlainFile } from "../core/plain-file.ts";
import { type Certificates, openBroker } from "./broker-socket.ts";
import { CoalescedStream } from "./coalesced-stream.ts";
import { type Publish, PublishSieve } from "./publish-sieve.ts";

export interface MqttConnectionOptions {
  readonly url: string;
  readonly clientId: string;
  readonly topic: string;
  readonly qos: 0 | 1;
  readonly username: string | undefined;
  readonly password: (() => string) | undefined;
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly keepaliveS: number;
  readonly connectTimeoutMs: number;
  readonly closeTimeoutMs: number;
}

/** Where messages go. */
export interface MqttInbox {
  /** The payload is copied. False when there is no room; only a message that waits for an answer may be refused. */
  take(topic: string, payload: Uint8Array, waits: boolean): boolean;
  /** Resolves when what was taken last is durable; the same promise for all that one commit takes along. */
  committed(): Promise<void>;
}

/** PUBACKs withheld until one commit. */
interface Withheld {
  readonly committed: Promise<void>;
  readonly messageIds: number[];
}

/** What is in flight at most; a broker can have 65,535 messages without an answer (packet identifiers are 16 bits). */
const maxWithheld = 16_384;
/** CONNACK: it may be there later. */
const serverUnavailable = 3;

/**
 * One connection to a broker with a session that it keeps (MQTT 3.1.1, clean session false).
 *
 * A message of QoS 1 is answered (PUBACK) only after the commit that holds it, in the order of the messages (MQTT 3.1.1
 * section 4.6). `mqtt` keeps the connection and never sees a message: it handles one after the other, each behind the
 * answer to the one before.
 * What is not answered when the connection ends is forgotten here; the broker sends those messages again.
 */
export class MqttConnection {
  readonly #options: MqttConnectionOptions;
  readonly #inbox: MqttInbox;
  readonly #clock: Clock;
  /** How it ended. */
  readonly gone: Promise<string>;
  #client: MqttClient | undefined;
  #lost: (reason: string) => void = () => undefined;
  /** `closing`: nothing is taken any more, and what was taken is still answered. */
  #state: "running" | "closing" | "closed" = "running";
  readonly #ended = new AbortController();
  #withheld: Withheld | undefined;
  #withheldCount = 0;
  #answered: Promise<void> = Promise.resolve();
  #stream: CoalescedStream | undefined;
  #holding = false;
  #closing: Promise<void> | undefined;

  constructor(options: MqttConnectionOptions, inbox: MqttInbox, clock: Clock) {
    this.#options = options;
    this.#inbox = inbox;
    this.#clock = clock;
    this.gone = new Promise((resolve) => {
      this.#lost = resolve;
    });
  }

  /**
   * Connects and subscribes; messages may come before it resolves, because the broker kept them.
   * Resolves with the quality of service that the broker grants.
   * @throws TransientError when the broker is not there; PermanentError when it refuses; ConfigError of a secret.
   */
  async open(signal: AbortSignal): Promise<number> {
    const { url, topic, qos, connectTimeoutMs } = this.#options;
    const certificates = await this.#certificates();
    const options = this.#clientOptions();
    signal.throwIfAborted();
    const sieve = new PublishSieve((message) => this.#receive(message));
    const stream = new CoalescedStream((received) => openBroker(url, certificates, received), sieve);
    this.#stream = stream;
    const client = new MqttClient(() => stream as ReturnType<StreamBuilder>, options);
    this.#client = client;
    let failure: Error | undefined;
    const connected = new Promise<void>((resolve, reject) => {
      client.on("connect", () => resolve());
      client.on("error", (error) => {
        failure ??= error;
        reject(error);
      });
      client.on("close", () => {
        const reason = failure?.message ?? "the broker closed the connection";
        reject(new Error(reason));
        this.#end(reason);
      });
    });
    const subscribed = connected.then(() => client.subscribeAsync(topic, { qos }));
    client.connect();
    for (;;) {
      const step = `connecting to ${url}`;
      try {
        const code = "MQTT_SOURCE_UNREACHABLE";
        const [granted] = await within(subscribed, connectTimeoutMs, step, signal, code);
        return granted?.qos ?? qos;
      } catch (error) {
        // The broker's answer may stand behind messages that wait for room.
        if (this.#holding && error instanceof TransientError) continue;
        throw refusal(step, error);
      }
    }
  }

  /**
   * Takes nothing more, answers what is committed meanwhile, and says goodbye.
   * `forGood`: unsubscribes as well, or the session would go on collecting at the broker.
   */
  close(forGood = false): Promise<void> {
    this.#closing ??= this.#close(forGood);
    return this.#closing;
  }

  async #close(forGood: boolean): Promise<void> {
    const client = this.#client;
    if (this.#state === "running") this.#state = "closing";
    const { closeTimeoutMs, topic } = this.#options;
    if (client?.connected) {
      await within(this.#answered, closeTimeoutMs, "waiting for the commit").catch(() => undefined);
      if (forGood)
        await within(client.unsubscribeAsync(topic), closeTimeoutMs, "unsubscribing").catch(() => undefined);
      await within(client.endAsync(), closeTimeoutMs, "closing").catch(() => undefined);
    }
    client?.end(true);
    client?.stream?.destroy();
    this.#end("closed");
  }

  async #certificates(): Promise<Certificates> {
    const { caFile, certFile, keyFile } = this.#options;
    const read = async (file: string | undefined) =>
      file === undefined ? undefined : await readPlainFile(file);
    const [ca, cert, key] = await Promise.all([read(caFile), read(certFile), read(keyFile)]);
    return { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) };
  }

  #clientOptions(): IClientOptions {
    const { clientId, username, password, keepaliveS, connectTimeoutMs } = this.#options;
    return {
      protocolVersion: 4,
      clientId,
      clean: false,
      keepalive: keepaliveS,
      reconnectPeriod: 0,
      resubscribe: false,
      // The library would make a table of all 65,536 numbers of two bytes: 11 MB.
      writeCache: false,
      connectTimeout: connectTimeoutMs,
      manualConnect: true,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password: password() }),
    };
  }

  /** False when there is no room. What comes after the end is not taken, and the broker sends it again. */
  #receive({ topic, qos, messageId, payload }: Publish): boolean {
    if (this.#state !== "running") return true;
    const waits = qos > 0;
    const isTaken = !(waits && this.#withheldCount >= maxWithheld) && this.#inbox.take(topic, payload, waits);
    if (isTaken && waits) this.#withhold(messageId);
    if (!isTaken && !this.#holding) void this.#hold();
    return isTaken;
  }

  /** Nothing more is taken until there is room. The broker and the network hold what comes behind. */
  async #hold(): Promise<void> {
    this.#holding = true;
    // What is not read is no answer to a ping either: we ping without expecting one.
    const pingMs = (this.#options.keepaliveS * 1_000) / 3;
    let pingedMs = this.#clock.monotonic();
    for (;;) {
      await this.#nextCommit(pingMs);
      if (this.#state === "closed" || this.#stream?.goOn()) break;
      if (this.#clock.monotonic() - pingedMs < pingMs) continue;
      pingedMs = this.#clock.monotonic();
      this.#client?.sendPing();
      this.#client?.reschedulePing(true);
    }
    this.#holding = false;
  }

  /** Ends with the next commit, and after `longestMs` in any case. */
  async #nextCommit(longestMs: number): Promise<void> {
    const awake = new AbortController();
    const signal = AbortSignal.any([awake.signal, this.#ended.signal]);
    const pause = this.#clock.sleep(longestMs, signal).catch(() => undefined);
    // A commit that fails for good ends the process.
    await Promise.race([this.#inbox.committed().catch(() => undefined), pause]);
    awake.abort();
  }

  #withhold(messageId: number): void {
    const committed = this.#inbox.committed();
    this.#withheldCount++;
    if (this.#withheld?.committed === committed) {
      this.#withheld.messageIds.push(messageId);
      return;
    }
    const withheld = { committed, messageIds: [messageId] };
    this.#withheld = withheld;
    // When the commit fails for good the process ends, and nobody is answered.
    this.#answered = committed.then(
      () => this.#answer(withheld.messageIds),
      () => undefined,
    );
  }

  #answer(messageIds: readonly number[]): void {
    this.#withheldCount -= messageIds.length;
    if (this.#state === "closed" || !this.#client?.connected) return;
    this.#client.stream.write(pubacks(messageIds));
    // Messages prove the link as well as the answer to a ping, which may stand behind many of them.
    this.#client.reschedulePing(true);
  }

  #end(reason: string): void {
    this.#state = "closed";
    this.#ended.abort();
    this.#lost(reason);
  }
}

/** Packets of four bytes each (MQTT 3.1.1 section 3.4), in one write: the library would make one or more of each. */
function pubacks(messageIds: readonly number[]): Buffer {
  const packets = Buffer.allocUnsafe(4 * messageIds.length);
  let at = 0;
  for (const messageId of messageIds)
    at = packets.writeUInt16BE(messageId, packets.writeUInt16BE(0x4002, at));
  return packets;
}

/**
 * A broker that is there and says no is a PermanentError: CONNACK 1, 2, 4, 5 (MQTT 3.1.1 section 3.2.2.3), a SUBACK
 * of failure, a certificate that does not hold. System errors such as ECONNREFUSED and silence are transient.
 */
function refusal(step: string, error: unknown): Error {
  if (error instanceof TransientError || !(error instanceof Error)) return error as Error;
  const code = "code" in error ? error.code : undefined;
  const refused =
    ("packet" in error && error.packet !== undefined) ||
    (typeof code === "number" && code !== serverUnavailable) ||
    (typeof code === "string" && !/^E(?!RR_|PROTO)/.test(code));
  const made = refused ? PermanentError : TransientError;
  return new made("MQTT_SOURCE_UNREACHABLE", `${step}: ${messageOf(error)}`, { cause: error });
}
