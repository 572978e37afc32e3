import type { Duplex } from "node:stream";
import type mqtt from "mqtt";
import { MqttClient } from "mqtt";
import { within } from "../core/deadline.ts";
import { catchPubacks } from "./pubacks.ts";
import { unpooled } from "./unpooled.ts";

export interface DirectConnectionOptions {
  readonly clientId: string;
  readonly username: string;
  readonly password: string;
  readonly connectTimeoutMs: number;
  readonly closeTimeoutMs: number;
  /** Seconds between pings, shorter in tests. */
  readonly keepAliveS?: number | undefined;
}

export interface DirectConnectionEvents {
  /** The connection ended without our asking. Called at most once, and not before it stood. */
  gone(reason: Error): void;
  /** A message of QoS 1 is acknowledged when this resolves, and not at all when it rejects. */
  message(topic: string, payload: Buffer, waits: boolean): Promise<void> | undefined;
}

/** A dead link is noticed after one and a half of it. Hubs do not bill pings. */
const defaultKeepAliveS = 60;
const atLeastOnce = { qos: 1 } as const;

/** One MQTT 3.1.1 connection over a stream that stands, with a session that the hub keeps. */
export class DirectConnection {
  readonly #options: DirectConnectionOptions;
  readonly #client: MqttClient;
  readonly #events: DirectConnectionEvents;
  #state: "opening" | "open" | "ended" = "opening";
  #isSettling = false;
  #failure: Error | undefined;
  /** The last acknowledgement; they leave in the order of the messages (MQTT 3.1.1 section 4.6). */
  #acknowledged: Promise<void> = Promise.resolve();

  constructor(stream: Duplex, options: DirectConnectionOptions, events: DirectConnectionEvents) {
    const { clientId, username, password, connectTimeoutMs } = options;
    this.#options = options;
    this.#events = events;
    this.#client = new MqttClient(() => stream as ReturnType<mqtt.StreamBuilder>, {
      protocolVersion: 4,
      clientId,
      username,
      password,
      clean: false,
      keepalive: options.keepAliveS ?? defaultKeepAliveS,
      connectTimeout: connectTimeoutMs,
      // Retrying is the link's; what is in flight when the connection ends is sent again by the publisher.
      reconnectPeriod: 0,
      resubscribe: false,
      // The library would make a table of all 65,536 numbers of two bytes: 11 MB.
      writeCache: false,
      manualConnect: true,
    });
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /**
   * Resolves with whether the hub had kept the session.
   * @throws the library's error; of a refusal it has the CONNACK's return code as `code`
   */
  async open(): Promise<boolean> {
    const client = this.#client;
    const acknowledge = this.#catchPubacks();
    return await new Promise<boolean>((resolve, reject) => {
      client.on("connect", ({ sessionPresent }) => {
        this.#state = "open";
        resolve(sessionPresent);
      });
      client.on("error", (error) => {
        this.#failure ??= error;
        reject(error);
        // A packet that cannot be read, or no answer to a ping: the library goes on, we do not.
        client.stream.destroy();
      });
      client.on("close", () => {
        const reason = this.#failure ?? new Error("the hub closed the connection");
        reject(reason);
        if (this.#state === "open") this.#events.gone(reason);
        this.#state = "ended";
      });
      client.on("message", (topic, payload, { qos, messageId }) => {
        // Its acknowledgement would come too late; the next connection brings it again.
        if (qos === 1 && this.#isSettling) return;
        const taken = this.#events.message(topic, payload, qos === 1);
        if (qos === 1 && messageId !== undefined) acknowledge(messageId, taken);
        // At QoS 0 nobody waits for it, and whoever does not take it has nobody to tell.
        else taken?.catch(() => undefined);
      });
      client.connect();
    });
  }

  /** A PUBACK waits for its message to be taken. How many wait is the hub's bound: edge hub has one in flight, IoT Hub fifty. */
  #catchPubacks(): (messageId: number, taken: Promise<void> | undefined) => void {
    const send = catchPubacks(this.#client, () => undefined);
    return (messageId, taken) => {
      const answer = taken?.then(
        () => true,
        () => false,
      );
      this.#acknowledged = this.#acknowledged.then(async () => {
        const isTaken = (await answer) ?? true;
        if (isTaken && this.#state === "open") send(messageId);
      });
    };
  }

  /** QoS 1. `confirmed` is not called when the connection ends before. */
  publish(topic: string, payload: Buffer, confirmed: (error?: Error | null) => void): void {
    // The library would keep it for a next connection, which never comes.
    if (this.#state === "open") unpooled(() => this.#client.publish(topic, payload, atLeastOnce, confirmed));
    else confirmed(new Error("the connection has ended"));
  }

  /** QoS 0: there is no answer but another packet. */
  request(topic: string, payload: Buffer | string): void {
    if (this.#state === "open") this.#client.publish(topic, payload, { qos: 0 });
  }

  /** @throws when the connection ends, or the hub refuses (SUBACK 0x80) */
  async subscribe(topic: string, qos: 0 | 1): Promise<void> {
    if (this.#state !== "open") throw new Error("the connection has ended");
    await this.#client.subscribeAsync(topic, { qos });
  }

  async unsubscribe(topic: string): Promise<void> {
    await this.#client.unsubscribeAsync(topic);
  }

  /** Takes no more messages that wait, and ends when those that were taken are acknowledged, if that can be done in time. */
  async settle(): Promise<void> {
    this.#isSettling = true;
    await within(this.#acknowledged, this.#options.closeTimeoutMs, "acknowledging").catch(() => undefined);
  }

  /** Says goodbye when that can be done in time. Never rejects. */
  async close(): Promise<void> {
    const client = this.#client;
    const wasOpen = this.#state === "open";
    this.#state = "ended";
    if (wasOpen)
      // With an unanswered send a graceful end would wait for it.
      await within(client.endAsync(), this.#options.closeTimeoutMs, "closing").catch(() => undefined);
    client.end(true);
    client.stream?.destroy();
  }
}
