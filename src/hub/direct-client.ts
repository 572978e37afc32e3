import type { Duplex } from "node:stream";
import type { Clock } from "../core/clock.ts";
import { within } from "../core/deadline.ts";
import { HeadgateError, messageOf, PermanentError, TransientError } from "../core/errors.ts";
import { isObject } from "../core/json.ts";
import { callFromHub } from "./calls-from-hub.ts";
import { type Credentials, readCredentials } from "./credentials.ts";
import {
  clientIdOf,
  desiredPatches,
  incoming,
  inputMessages,
  maxPacketBytes,
  methodCalls,
  sasToken,
  telemetryTopic,
  twinAnswers,
  twinGetTopic,
  twinReportTopic,
  usernameOf,
} from "./dialect.ts";
import { DirectConnection } from "./direct-connection.ts";
import { addressOf, environmentProxy, type HubTransport, openStream } from "./direct-stream.ts";
import { connectFailure, twinFailure } from "./failures.ts";
import type { HubClient, HubClientEvents, HubMessage, TwinClient } from "./hub-client.ts";
import { Sends } from "./sends.ts";
import { desiredPatch, twinDocument } from "./twin-document.ts";
import { checkReported, parsed, TwinRequests, twinOf } from "./twin-requests.ts";

export interface DirectClientOptions {
  /** Undefined: everything from the environment of an IoT Edge module. */
  readonly connectionString: (() => string) | undefined;
  readonly caFile: string | undefined;
  readonly environment: NodeJS.ProcessEnv;
  /** Shown by the hub as the kind of client, for example `headgate/0.1.0`. */
  readonly productInfo: string;
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  readonly sendTimeoutMs: number;
  readonly twinTimeoutMs: number;
  readonly closeTimeoutMs: number;
  /** Seconds between pings, shorter in tests. */
  readonly keepAliveS?: number;
  /** Default `mqtt`. */
  readonly transport?: HubTransport;
  /** `environment`: HTTPS_PROXY, unless NO_PROXY names the hub. */
  readonly proxy?: URL | "environment" | undefined;
  /** How long a token holds, and how long before its end the next one is fetched. */
  readonly token?: { readonly validMs: number; readonly marginMs: number };
}

/** As the Azure SDK has it. */
const defaultToken = { validMs: 3_600_000, marginMs: 900_000 };

/** Everything that a connection needs, signed and fetched. */
interface Ticket {
  readonly credentials: Credentials;
  readonly password: string;
  readonly expiresAtS: number;
}

/** IoT Hub's dialect spoken directly: edge hub or IoT Hub, device or module. */
export class DirectClient implements HubClient {
  readonly #options: DirectClientOptions;
  readonly #events: HubClientEvents;
  readonly #sends: Sends;
  readonly #twinRequests = new TwinRequests();
  readonly #ended = new AbortController();
  #connection: DirectConnection | undefined;
  #credentials: Credentials | undefined;
  /** Twin topics of this client, which a new connection subscribes anew. */
  readonly #subscriptions = new Set<string>();
  /** While the connection is replaced, twin requests wait for it. */
  #renewing: Promise<void> = Promise.resolve();
  #renewalTimer: NodeJS.Timeout | undefined;
  readonly #twinCalls = new Set<Promise<unknown>>();

  constructor(options: DirectClientOptions, events: HubClientEvents) {
    this.#options = options;
    this.#events = events;
    this.#sends = new Sends(options.sendTimeoutMs);
  }

  async connect(): Promise<void> {
    const { connectTimeoutMs } = this.#options;
    try {
      await within(this.#open(), connectTimeoutMs, "connecting to the hub");
    } catch (error) {
      throw connectFailure(error, messageOf(error));
    }
  }

  /** Not `async`: one promise per message is enough. */
  send(message: HubMessage): Promise<void> {
    const credentials = this.#credentials;
    if (!credentials || this.#ended.signal.aborted)
      return Promise.reject(new TransientError("HUB_LOST", "not connected"));
    const { body } = message;
    const topic = telemetryTopic(credentials, message);
    // Behind the fixed header: the topic and its length, the packet identifier, the payload (MQTT 3.1.1 section 3.3).
    const bytes = Buffer.byteLength(topic) + 4 + body.byteLength;
    if (bytes > maxPacketBytes) {
      const reason = `sending to the hub: ${bytes} bytes are more than the ${maxPacketBytes} it takes`;
      return Promise.reject(new PermanentError("HUB_REJECTED", reason));
    }
    return this.#sends.add(topic, Buffer.from(body.buffer, body.byteOffset, body.byteLength));
  }

  readonly twin: TwinClient = {
    subscribe: () =>
      this.#twinCall("subscribing to the twin", (connection) => this.#subscribe(connection, desiredPatches)),
    get: () =>
      this.#twinCall("getting the twin", async (connection) =>
        twinDocument(twinOf(await this.#ask(connection, twinGetTopic, " "))),
      ),
    report: (patch) =>
      this.#twinCall("reporting to the twin", async (connection) =>
        checkReported(await this.#ask(connection, twinReportTopic, JSON.stringify(patch))),
      ),
  };

  async close(): Promise<void> {
    this.#end(new TransientError("HUB_LOST", "closed"));
    await this.#connection?.close();
  }

  async #open(): Promise<void> {
    const ticket = await this.#ticket();
    await this.#establish(ticket);
  }

  async #ticket(): Promise<Ticket> {
    const { signal } = this.#ended;
    const { clock, token = defaultToken } = this.#options;
    const credentials = await readCredentials(this.#options, signal);
    const expiresAtS = Math.floor((clock.wall() + token.validMs) / 1000);
    const password = await sasToken(credentials, expiresAtS, credentials.sign);
    return { credentials, password, expiresAtS };
  }

  /** Connects, subscribes what was subscribed, and opens the way for sends. */
  async #establish({ credentials, password, expiresAtS }: Ticket): Promise<void> {
    const { productInfo, connectTimeoutMs, closeTimeoutMs } = this.#options;
    const { signal } = this.#ended;
    const stream = await this.#stream(credentials);
    const connection = new DirectConnection(
      stream,
      {
        clientId: clientIdOf(credentials),
        username: usernameOf(credentials, productInfo),
        password,
        connectTimeoutMs,
        closeTimeoutMs,
        keepAliveS: this.#options.keepAliveS,
      },
      {
        gone: (reason) => this.#lost(reason),
        message: (topic, payload, waits) => this.#received(topic, payload, waits),
      },
    );
    this.#connection = connection;
    if (signal.aborted) stream.destroy();
    const hasSession = await connection.open().catch((error: unknown) => {
      // The day tells a clock that is years off; more would make each attempt another reason, and a line in the log.
      const day = new Date(expiresAtS * 1000).toISOString().slice(0, 10);
      throw connectFailure(error, `${messageOf(error)} (token until ${day})`);
    });
    signal.throwIfAborted();
    const { method, input, wantsInputs = true } = this.#events;
    const takesInputs = input !== undefined && wantsInputs;
    const inputs = inputMessages(credentials);
    await Promise.all([
      ...Array.from(this.#subscriptions, (topic) => connection.subscribe(topic, 0)),
      ...(method ? [this.#offer(connection, "methods", methodCalls, 0)] : []),
      ...(takesInputs ? [this.#offer(connection, "inputs", inputs, 1)] : []),
    ]);
    // The hub remembers what was subscribed once. A connection must not fail for it: what comes is not acknowledged.
    if (!takesInputs && hasSession) connection.unsubscribe(inputs).catch(() => undefined);
    this.#credentials = credentials;
    this.#sends.open((topic, payload, confirmed) => connection.publish(topic, payload, confirmed));
    this.#armRenewal();
  }

  async #stream({ dial, ca }: Credentials): Promise<Duplex> {
    const { transport = "mqtt", proxy: given, environment } = this.#options;
    const { host, port } = addressOf(dial, transport);
    const proxy = given === "environment" ? environmentProxy(environment, host) : given;
    return await openStream({ transport, host, port, ca, proxy }, this.#ended.signal);
  }

  async #twinCall<T>(doing: string, call: (connection: DirectConnection) => Promise<T>): Promise<T> {
    const work = async () => {
      await this.#renewing;
      if (!this.#connection || this.#ended.signal.aborted) throw new Error("not connected");
      const called = call(this.#connection);
      this.#twinCalls.add(called);
      return await called.finally(() => this.#twinCalls.delete(called));
    };
    try {
      return await within(work(), this.#options.twinTimeoutMs, doing);
    } catch (error) {
      throw twinFailure(error, doing);
    }
  }

  async #ask(connection: DirectConnection, topicOf: (requestId: string) => string, body: string) {
    await this.#subscribe(connection, twinAnswers);
    const send = (requestId: string) => connection.request(topicOf(requestId), body);
    return await this.#twinRequests.answerTo(send, this.#options.twinTimeoutMs);
  }

  async #subscribe(connection: DirectConnection, topic: string): Promise<void> {
    if (this.#subscriptions.has(topic)) return;
    await connection.subscribe(topic, 0);
    this.#subscriptions.add(topic);
  }

  /** A hub that refuses this still takes messages. */
  async #offer(connection: DirectConnection, what: "methods" | "inputs", topic: string, qos: 0 | 1) {
    try {
      await connection.subscribe(topic, qos);
    } catch (error) {
      if (!connection.isOpen) throw error;
      this.#events.refused?.(what, messageOf(error));
    }
  }

  #received(topic: string, payload: Buffer, waits: boolean): Promise<void> | undefined {
    const packet = incoming(topic);
    if (packet.kind === "twinAnswer") {
      this.#twinRequests.answered(packet.requestId, { status: packet.status, payload });
    } else if (packet.kind === "desired") {
      const patch = parsed(payload);
      if (isObject(patch)) this.#events.desired(desiredPatch(patch));
      else this.#lost(new Error("the hub sent a desired patch that is not an object"));
    } else {
      // The connection of then: it may have been replaced meanwhile, and the hub takes the answer all the same.
      const respond = (answer: string, body: string) => this.#connection?.request(answer, body);
      return callFromHub(packet, payload, this.#events, respond, waits);
    }
    return undefined;
  }

  #lost(reason: Error): void {
    if (this.#ended.signal.aborted) return;
    const lost =
      reason instanceof HeadgateError
        ? reason
        : new TransientError("HUB_LOST", `hub: ${reason.message}`, { cause: reason });
    this.#end(lost);
    this.#events.lost(lost);
  }

  /** Nothing is waited for any more. */
  #end(reason: Error): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(reason);
    clearTimeout(this.#renewalTimer);
    this.#sends.fail(reason);
    this.#twinRequests.fail(reason);
  }

  /** By elapsed time: a step of the wall clock must not bring the end of the token nearer. */
  #armRenewal(): void {
    const { validMs, marginMs } = this.#options.token ?? defaultToken;
    this.#renewalTimer = setTimeout(() => void this.#renew(), validMs - marginMs);
  }

  /**
   * MQTT 3.1.1 takes a password only in CONNECT: so a new connection it is. First the token is there, then nothing is
   * in flight any more, and only then the old connection goes; what is sent meanwhile waits.
   */
  async #renew(): Promise<void> {
    const { signal } = this.#ended;
    const { connectTimeoutMs, sendTimeoutMs, twinTimeoutMs, closeTimeoutMs } = this.#options;
    let renewed: () => void = () => undefined;
    try {
      const ticket = await this.#nextTicket();
      this.#renewing = new Promise((resolve) => {
        renewed = resolve;
      });
      const underWay = Promise.all([this.#sends.pause(), Promise.allSettled([...this.#twinCalls])]);
      // Each has its own deadline; a subscription that nobody confirms has none.
      await within(underWay, Math.max(sendTimeoutMs, twinTimeoutMs) + closeTimeoutMs, "renewing the token");
      await this.#connection?.settle();
      signal.throwIfAborted();
      await this.#connection?.close();
      await within(this.#establish(ticket), connectTimeoutMs, "renewing the token");
    } catch (error) {
      this.#lost(connectFailure(error, messageOf(error)));
    }
    renewed();
    // The hub keeps no patches for a client that is away.
    if (this.#subscriptions.has(desiredPatches) && !signal.aborted)
      this.#events.desired({ patch: {}, version: undefined });
  }

  /** A workload API that does not sign now is asked again, as long as the present token holds. */
  async #nextTicket(): Promise<Ticket> {
    const { clock, connectTimeoutMs, token = defaultToken } = this.#options;
    // The other half of the margin is for what is in flight, and for the new connection.
    const giveUpAt = clock.monotonic() + token.marginMs / 2;
    for (;;) {
      try {
        return await within(this.#ticket(), connectTimeoutMs, "renewing the token");
      } catch (error) {
        if (clock.monotonic() >= giveUpAt) throw error;
        await clock.sleep(token.marginMs / 20, this.#ended.signal);
      }
    }
  }
}
