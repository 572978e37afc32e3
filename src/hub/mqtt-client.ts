import mqtt, { type MqttClient as Connection, type IClientOptions } from "mqtt";
import { within } from "../core/deadline.ts";
import { HeadgateError, messageOf, PermanentError, TransientError } from "../core/errors.ts";
import { readPlainFile } from "../core/plain-file.ts";
import type { HubClient, HubClientEvents, HubMessage } from "./hub-client.ts";
import { unpooled } from "./unpooled.ts";

export interface MqttClientOptions {
  readonly url: string;
  readonly protocolVersion: 4 | 5;
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: (() => string) | undefined;
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  /** With `{output}`. */
  readonly topic: string;
  readonly connectTimeoutMs: number;
  readonly sendTimeoutMs: number;
  readonly closeTimeoutMs: number;
  /** Seconds between pings, shorter in tests. */
  readonly keepAliveS?: number;
}

/** The library gives a connection up half as much later: a network that fell silent is noticed within 90 s. */
const defaultKeepAliveS = 60;

/** Any MQTT 3.1.1 or 5 broker as a hub. It has no twin. */
export class MqttClient implements HubClient {
  readonly twin = undefined;
  readonly #options: MqttClientOptions;
  readonly #events: HubClientEvents;
  #connection: Connection | undefined;
  #done = false;

  constructor(options: MqttClientOptions, events: HubClientEvents) {
    this.#options = options;
    this.#events = events;
  }

  async connect(): Promise<void> {
    const o = this.#options;
    const read = async (file: string | undefined) =>
      file === undefined ? undefined : await readPlainFile(file);
    try {
      const [ca, cert, key] = await Promise.all([read(o.caFile), read(o.certFile), read(o.keyFile)]);
      const options: IClientOptions = {
        protocolVersion: o.protocolVersion,
        clientId: o.clientId,
        // Nothing to resume: what was not confirmed is sent again from the store.
        clean: true,
        reconnectPeriod: 0,
        keepalive: o.keepAliveS ?? defaultKeepAliveS,
        // The library would make a table of all 65,536 numbers of two bytes: 11 MB.
        writeCache: false,
        connectTimeout: o.connectTimeoutMs,
        manualConnect: true,
        ...(o.username === undefined ? {} : { username: o.username }),
        ...(o.password === undefined ? {} : { password: o.password() }),
        ...(ca ? { ca } : {}),
        ...(cert ? { cert } : {}),
        ...(key ? { key } : {}),
      };
      if (this.#done) throw new TransientError("HUB_LOST", "closed while connecting");
      const connection = mqtt.connect(o.url, options);
      this.#connection = connection;
      const connected = new Promise<void>((resolve, reject) => {
        connection.on("connect", () => resolve());
        connection.on("error", reject);
        connection.on("close", () => {
          reject(new Error("the broker closed the connection"));
          this.#lost(new Error("the broker closed the connection"));
        });
      });
      connection.connect();
      await within(connected, o.connectTimeoutMs, "connecting to the broker");
    } catch (error) {
      throw connectionError(error);
    }
  }

  async send({
    id,
    output,
    body,
    contentType,
    contentEncoding,
    properties: application,
  }: HubMessage): Promise<void> {
    const connection = this.#connection;
    if (!connection) throw new TransientError("HUB_LOST", "not connected");
    const topic = this.#options.topic.replaceAll("{output}", () => output);
    const properties =
      this.#options.protocolVersion === 5
        ? {
            contentType,
            // Only of text (MQTT 5 section 3.3.2.3.2).
            ...(contentEncoding === "utf-8" ? { payloadFormatIndicator: true } : {}),
            userProperties: {
              messageId: id,
              ...(contentEncoding === "utf-8" ? {} : { contentEncoding }),
              ...application,
            },
          }
        : {};
    const payload = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    try {
      const sent = unpooled(() => connection.publishAsync(topic, payload, { qos: 1, properties }));
      await within(sent, this.#options.sendTimeoutMs, "sending to the broker");
    } catch (error) {
      if (error instanceof HeadgateError) throw error;
      const reason = error instanceof Error && "code" in error ? error.code : undefined;
      if (typeof reason === "number" && hopelessReasons.has(reason)) {
        throw new PermanentError("HUB_REJECTED", `sending to the broker: ${messageOf(error)}`, {
          cause: error,
        });
      }
      throw new TransientError("HUB_LOST", `sending to the broker: ${messageOf(error)}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    this.#done = true;
    const connection = this.#connection;
    if (!connection) return;
    // With an unanswered send a graceful end would wait for it.
    await within(connection.endAsync(), this.#options.closeTimeoutMs, "closing").catch(() => undefined);
    connection.end(true);
    connection.stream?.destroy();
  }

  #lost(reason: Error): void {
    if (this.#done) return;
    this.#done = true;
    this.#events.lost(new TransientError("HUB_LOST", reason.message, { cause: reason }));
  }
}

/** Topic name invalid, packet too large, payload format invalid (MQTT 5 section 3.4.2.1): they never pass. */
const hopelessReasons = new Set([0x90, 0x95, 0x99]);

/** Refusals: CONNACK 4 and 5 of MQTT 3.1.1, reason codes 0x86 and 0x87 of MQTT 5. */
function connectionError(error: unknown): Error {
  if (error instanceof TransientError) return error;
  if (error instanceof HeadgateError) return new TransientError(error.code, error.message, { cause: error });
  const reason = error instanceof Error && "code" in error ? error.code : undefined;
  const refused = reason === 4 || reason === 5 || reason === 0x86 || reason === 0x87;
  const message = `connecting to the broker: ${messageOf(error)}`;
  return new TransientError(refused ? "HUB_UNAUTHORIZED" : "HUB_UNREACHABLE", message, { cause: error });
}
