import { createRequire } from "node:module";
import type { AuthenticationProvider } from "azure-iot-common";
import type { DeviceClientOptions } from "azure-iot-device";
import { Mqtt } from "azure-iot-device-mqtt";
import { MqttBase } from "azure-iot-mqtt-base";
import { isObject } from "../core/json.ts";
import { TwinStatusError } from "./failures.ts";
import { catchPubacks } from "./pubacks.ts";

/**
 * The SDK's MQTT transport with what it leaves open closed, through the injection points of its constructors only:
 * - a failed signing during token renewal emits `error` where nobody listens, which would end the process
 * - an empty answer to a twin GET (edge hub's answer to an error) would throw inside the SDK and end the process,
 *   as would a twin packet that is not JSON
 * - the status of a twin answer is not looked at, so a refused report would count as success
 * - a subscription that the hub refuses (SUBACK 0x80) counts as success
 * - `setOptions` replaces all options, which would lose the CA of the trust bundle
 * - `close` may never end, so the sockets must be reachable to be destroyed
 * - while it closes it acknowledges messages and hands them to nobody
 * - a reconnect for token renewal does not subscribe again, so a session that is gone must be noticed
 */
export interface TransportWatch {
  /** The connection cannot be relied on any more. */
  lost(reason: Error): void;
  desired(patch: unknown): void;
  /** True when the packet was a call from the hub and has been taken care of. */
  called(topic: string, payload: Buffer, respond: (topic: string, body: string) => void): boolean;
  /** What the socket or the server said, before the SDK wraps it beyond recognition. */
  connectError(error: Error): void;
}

/** The raw MQTT client inside the SDK (mqtt 4.3.8), as far as it is used here. */
interface RawClient {
  on(event: "error", listener: (error: Error) => void): void;
  on(event: "connect", listener: (packet: { sessionPresent?: boolean }) => void): void;
  on(event: "close", listener: () => void): void;
  end(force: boolean): void;
  readonly stream?: { destroy(): void };
}

const sdkRequire = createRequire(createRequire(import.meta.url).resolve("azure-iot-mqtt-base"));

/** Sockets of one transport; there are two for a moment while a token is renewed. */
class Sockets {
  readonly #open = new Set<RawClient>();
  readonly #watch: TransportWatch;
  #connects = 0;
  #destroyed = false;
  #isClosing = false;

  constructor(watch: TransportWatch) {
    this.#watch = watch;
  }

  /** What comes from now on is not acknowledged, and so comes again. */
  closing(): void {
    this.#isClosing = true;
  }

  /** Stands in for the `mqtt` module in the SDK. */
  connect(uri: string, options: object): RawClient {
    const mqtt = sdkRequire("mqtt") as { connect(uri: string, options: object): RawClient };
    const client = mqtt.connect(uri, options);
    this.#open.add(client);
    // Given up while the token was still being signed: it must not take the identity from its successor.
    if (this.#destroyed) setImmediate(() => this.destroy());
    client.on("error", (error) => this.#watch.connectError(error));
    const acknowledge = catchPubacks(client, (messageId) => {
      if (!this.#isClosing && messageId !== undefined) acknowledge(messageId);
    });
    client.on("connect", ({ sessionPresent }) => {
      if (this.#connects++ > 0 && !sessionPresent) {
        this.#watch.lost(new Error("the hub forgot the session, and with it the subscriptions"));
      }
    });
    client.on("close", () => this.#open.delete(client));
    return client;
  }

  destroy(): void {
    this.#destroyed = true;
    for (const client of this.#open) {
      client.end(true);
      client.stream?.destroy();
    }
    this.#open.clear();
  }
}

/** Drops twin packets that would throw inside the SDK, notes the status of twin answers, and refused subscriptions. */
class GuardedBase extends MqttBase {
  twinStatus = 0;
  readonly #watch: TransportWatch;

  constructor(provider: object, watch: TransportWatch) {
    super(provider);
    this.#watch = watch;
  }

  override subscribe(...[topic, options, callback]: Parameters<MqttBase["subscribe"]>): void {
    super.subscribe(topic, options, (error, granted: unknown) => {
      const isRefused = Array.isArray(granted) && granted.some(({ qos }: { qos: number }) => qos === 0x80);
      callback(error ?? (isRefused ? new Error(`the hub refuses the subscription to ${topic}`) : undefined));
    });
  }

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === "message") {
      const [topic, payload] = args as [string, Buffer];
      // Not the SDK's own way, which never answers a method that it does not know by name.
      const respond = (to: string, body: string) =>
        this.publish(to, body, { qos: 0, retain: false }, () => undefined);
      if (this.#watch.called(topic, payload, respond)) return true;
    }
    if (event === "message" && typeof args[0] === "string" && args[0].startsWith("$iothub/twin/")) {
      const [topic, payload] = args as [string, Buffer];
      if (payload.length > 0 && !isJson(payload)) {
        this.#watch.lost(new Error(`the hub sent a twin packet that is not JSON on ${topic}`));
        return true;
      }
      const status = /^\$iothub\/twin\/res\/(\d+)\//.exec(topic)?.[1];
      // The SDK calls the request's callback synchronously inside this very emit.
      if (status !== undefined) this.twinStatus = Number(status);
    }
    return super.emit(event, ...args);
  }
}

function isJson(payload: Buffer): boolean {
  try {
    JSON.parse(payload.toString("utf8"));
    return true;
  } catch {
    return false;
  }
}

export interface GuardedTransport extends Mqtt {
  closing(): void;
  destroy(): void;
}

/** A transport class for one client; `made` gets the instance that the SDK makes of it. */
export function guardedTransport(
  watch: TransportWatch,
  made: (transport: GuardedTransport) => void,
): typeof Mqtt {
  return class extends Mqtt implements GuardedTransport {
    readonly #sockets: Sockets;
    readonly #base: GuardedBase;
    #options: DeviceClientOptions = {};

    constructor(authentication: AuthenticationProvider) {
      const sockets = new Sockets(watch);
      const base = new GuardedBase({ connect: sockets.connect.bind(sockets) }, watch);
      super(authentication, base);
      this.#sockets = sockets;
      this.#base = base;
      const emitter = authentication as unknown as {
        on?(event: "error", listener: (error: Error) => void): void;
      };
      emitter.on?.("error", (error) =>
        watch.lost(new Error(`renewing the token: ${error.message}`, { cause: error })),
      );
      this.on("twinDesiredPropertiesUpdate", (patch: unknown) => watch.desired(patch));
      made(this);
    }

    override setOptions(
      options: DeviceClientOptions,
      done?: (error?: Error, result?: unknown) => void,
    ): void {
      this.#options = { ...this.#options, ...options };
      super.setOptions(this.#options, done);
    }

    override getTwin(callback: Parameters<Mqtt["getTwin"]>[0]): void {
      this.#base.twinStatus = 0;
      super.getTwin((error, twin) => {
        if (error) callback(error);
        else if (this.#base.twinStatus >= 300)
          callback(new TwinStatusError("getting", this.#base.twinStatus));
        else if (!isObject(twin)) callback(new Error("the hub answered a twin request with an empty body"));
        else callback(undefined, twin);
      });
    }

    override updateTwinReportedProperties(patch: unknown, callback: (error?: Error) => void): void {
      this.#base.twinStatus = 0;
      super.updateTwinReportedProperties(patch, (error) => {
        const status = this.#base.twinStatus;
        if (status >= 300) callback(new TwinStatusError("reporting to", status, error));
        else callback(error ?? undefined);
      });
    }

    closing(): void {
      this.#sockets.closing();
    }

    /** Ends everything that could outlive a close that hangs: sockets, and the timer of the token renewal. */
    destroy(): void {
      this.#sockets.destroy();
      const { stop } = this._authenticationProvider as { stop?: () => void };
      stop?.call(this._authenticationProvider);
    }
  };
}
