import common from "azure-iot-common";
import sdk from "azure-iot-device";
import { within } from "../core/deadline.ts";
import { HeadgateError, messageOf, PermanentError, TransientError } from "../core/errors.ts";
import { isObject } from "../core/json.ts";
import { readPlainFile } from "../core/plain-file.ts";
import { type GuardedTransport, guardedTransport } from "./azure-transport.ts";
import { callFromHub } from "./calls-from-hub.ts";
import { incoming } from "./dialect.ts";
import { connectFailure, twinFailure } from "./failures.ts";
import type { HubClient, HubClientEvents, HubMessage, TwinClient, TwinDocument } from "./hub-client.ts";
import { desiredPatch, twinDocument } from "./twin-document.ts";

// CommonJS whose names Node cannot see from outside: only the default export holds them all.
const { Client, Message, ModuleClient } = sdk;
const { NoRetry } = common;
type SdkClient = sdk.Client | sdk.ModuleClient;

export interface AzureClientOptions {
  /** Undefined: everything from the IOTEDGE_* or EdgeHubConnectionString environment. */
  readonly connectionString: (() => string) | undefined;
  readonly caFile: string | undefined;
  readonly connectTimeoutMs: number;
  readonly sendTimeoutMs: number;
  readonly twinTimeoutMs: number;
  readonly closeTimeoutMs: number;
  /** Seconds between pings, shorter in tests. */
  readonly keepAliveS?: number;
  /** For tests: token lifetime and margin, in seconds, as the SDK takes them. */
  readonly tokenRenewal?: { tokenValidTimeInSeconds: number; tokenRenewalMarginInSeconds: number };
}

/**
 * The SDK's own is 180. It gives a connection up when a ping is due and the last one was not answered, so a network that
 * fell silent is noticed within twice this, and sooner when something is sent. Hubs do not bill pings.
 */
const defaultKeepAliveS = 45;

/** The Azure IoT device SDK as a hub client: edge hub or IoT Hub, device or module. */
export class AzureClient implements HubClient {
  readonly #options: AzureClientOptions;
  readonly #events: HubClientEvents;
  #client: SdkClient | undefined;
  #transport: GuardedTransport | undefined;
  #connectError: Error | undefined;
  #done = false;

  constructor(options: AzureClientOptions, events: HubClientEvents) {
    this.#options = options;
    this.#events = events;
  }

  async connect(): Promise<void> {
    const { connectTimeoutMs } = this.#options;
    try {
      await within(this.#open(), connectTimeoutMs, "connecting to the hub");
    } catch (error) {
      throw this.#connectionError(error);
    }
  }

  async send({ id, output, body, contentType, contentEncoding, properties }: HubMessage): Promise<void> {
    const client = this.#connected();
    // Bytes only: anything but a string or a buffer would reject and leave the client unable to close.
    const message = new Message(Buffer.from(body.buffer, body.byteOffset, body.byteLength));
    message.messageId = id;
    // The SDK's types know only what hubs can route by; it sends any other as it is.
    message.contentType = contentType as "application/json";
    message.contentEncoding = contentEncoding as "utf-8";
    for (const [name, value] of Object.entries(properties)) message.properties.add(name, value);
    let sent: Promise<unknown>;
    if (client instanceof ModuleClient) sent = client.sendOutputEvent(output, message);
    else {
      // A device has no outputs; the property lets the hub's routes tell them apart all the same.
      message.properties.add("output", output);
      sent = client.sendEvent(message);
    }
    try {
      await within(sent, this.#options.sendTimeoutMs, "sending to the hub");
    } catch (error) {
      throw sendError(error);
    }
  }

  readonly twin: TwinClient = {
    subscribe: () =>
      this.#twinCall("subscribing to the twin", (transport, done) =>
        transport.enableTwinDesiredPropertiesUpdates((error) => done(error)),
      ),
    get: () =>
      this.#twinCall<TwinDocument>("getting the twin", (transport, done) =>
        // Straight from the transport: the SDK's own twin object merges arrays index by index.
        transport.getTwin((error, twin) =>
          error ? done(error) : done(undefined, twinDocument(isObject(twin) ? twin : {})),
        ),
      ),
    report: (patch) =>
      this.#twinCall("reporting to the twin", (transport, done) =>
        transport.updateTwinReportedProperties(patch, (error) => done(error)),
      ),
  };

  async close(): Promise<void> {
    this.#done = true;
    this.#transport?.closing();
    const client = this.#client;
    // Without connection or with an unanswered send the SDK's close may never end; the sockets go in any case,
    // because a client left behind would fight its successor for the identity.
    if (client) {
      client.on("error", () => undefined);
      await within(client.close(), this.#options.closeTimeoutMs, "closing the hub client").catch(
        () => undefined,
      );
    }
    this.#transport?.destroy();
  }

  async #open(): Promise<void> {
    const {
      connectionString,
      caFile,
      tokenRenewal,
      keepAliveS: keepalive = defaultKeepAliveS,
    } = this.#options;
    const transport = guardedTransport(
      {
        lost: (reason) => this.#lost(reason),
        desired: (patch) => this.#desired(patch),
        called: (topic, payload, respond) => {
          // It is not acknowledged any more: the next connection brings it again.
          if (this.#done) return true;
          const call = callFromHub(incoming(topic), payload, this.#events, respond, false);
          // The SDK has acknowledged already: nothing follows from a message that was not taken.
          call?.catch(() => undefined);
          return call !== undefined;
        },
        connectError: (error) => {
          this.#connectError ??= error;
        },
      },
      (made) => {
        this.#transport = made;
        // The environment answered after our deadline: this client was given up already.
        if (this.#done) made.destroy();
      },
    );
    // Read anew for every client: a key that was rotated is found at the next connection.
    const identity = connectionString?.();
    const client =
      identity === undefined
        ? await ModuleClient.fromEnvironment(transport)
        : /(^|;)ModuleId=/i.test(identity)
          ? ModuleClient.fromConnectionString(identity, transport)
          : Client.fromConnectionString(identity, transport);
    this.#client = client;
    // Reconnecting is ours: the SDK's own does not bring the twin back, and hides that it happened.
    client.setRetryPolicy(new NoRetry());
    client.on("error", (error: Error) => this.#lost(error));
    client.on("disconnect", (result: { transportObj?: Error } | undefined) =>
      this.#lost(new Error(result?.transportObj?.message ?? "the hub closed the connection")),
    );
    const ca = caFile === undefined ? {} : { ca: (await readPlainFile(caFile)).toString("utf8") };
    await client.setOptions({ keepalive, ...ca, ...(tokenRenewal ? { tokenRenewal } : {}) });
    if (this.#done) throw new TransientError("HUB_LOST", "closed while connecting");
    await client.open();
    await this.#offer(client);
  }

  /** Subscribes to what the gateway takes from the hub. */
  async #offer(client: SdkClient): Promise<void> {
    const transport = this.#transport;
    const { method, input, wantsInputs = true } = this.#events;
    if (!transport) return;
    const enabled = (enable: (done: (error?: Error) => void) => void) =>
      new Promise<void>((resolve, reject) => enable((error) => (error ? reject(error) : resolve())));
    const offer = async (what: "methods" | "inputs", enable: Parameters<typeof enabled>[0]) => {
      try {
        await enabled(enable);
      } catch (error) {
        // After a loss the events tell.
        if (!this.#done) this.#events.refused?.(what, messageOf(error));
      }
    };
    if (method) await offer("methods", (done) => transport.enableMethods(done));
    const isModule = client instanceof ModuleClient;
    if (input && wantsInputs)
      await offer("inputs", (done) =>
        isModule ? transport.enableInputMessages(done) : transport.enableC2D(done),
      );
  }

  #connected(): SdkClient {
    // The SDK would take a message after the loss, and say nothing.
    if (!this.#client || this.#done) throw new TransientError("HUB_LOST", "not connected");
    return this.#client;
  }

  async #twinCall<T = void>(
    doing: string,
    call: (transport: GuardedTransport, done: (error?: Error | null, result?: T) => void) => void,
  ): Promise<T> {
    const transport = this.#transport;
    if (!transport) throw new TransientError("HUB_LOST", "not connected");
    const answer = new Promise<T>((resolve, reject) => {
      call(transport, (error, result) => (error ? reject(error) : resolve(result as T)));
    });
    try {
      return await within(answer, this.#options.twinTimeoutMs, doing);
    } catch (error) {
      throw twinFailure(error, doing);
    }
  }

  #desired(patch: unknown): void {
    if (this.#done) return;
    if (isObject(patch)) this.#events.desired(desiredPatch(patch));
    else this.#lost(new Error("the hub sent a desired patch that is not an object"));
  }

  #lost(reason: Error): void {
    if (this.#done) return;
    this.#done = true;
    this.#events.lost(new TransientError("HUB_LOST", `hub: ${reason.message}`, { cause: reason }));
  }

  /** The SDK calls every first failure `Not authorized`; what the socket or the server said tells the truth. */
  #connectionError(error: unknown): TransientError {
    const cause = error instanceof HeadgateError ? error : (this.#connectError ?? error);
    return connectFailure(
      cause,
      messageOf(cause).replace("Failure on first connection (Not authorized): ", ""),
    );
  }
}

/** Classes of the SDK whose message can never pass; everything else may pass next time. */
const hopeless = new Set(["MessageTooLargeError", "FormatError", "ArgumentError"]);

function sendError(error: unknown): Error {
  if (error instanceof HeadgateError) return error;
  const message = `sending to the hub: ${messageOf(error)}`;
  if (error instanceof Error && hopeless.has(error.name)) {
    return new PermanentError("HUB_REJECTED", message, { cause: error });
  }
  return new TransientError("HUB_LOST", message, { cause: error });
}
