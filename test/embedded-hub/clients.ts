/** Real clients for the tests: the Azure SDK both ways, and `mqtt`. Every wait has a deadline. */
import device from "azure-iot-device";
import transport from "azure-iot-device-mqtt";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import type { EmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { createSas } from "../../src/embedded-hub/sas.ts";

export type SdkModule = device.ModuleClient;
export type SdkDevice = device.Client;
export const { Message } = device;

export const deadlineMs = 15_000;

/** Rejects when `work` takes longer than `ms`. */
export async function within<T>(work: Promise<T>, what: string, ms = deadlineMs): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** "settled" or, after `ms`, "pending". */
export async function fate(work: Promise<unknown>, ms: number): Promise<"settled" | "pending"> {
  const settled = work.then(
    () => "settled" as const,
    () => "settled" as const,
  );
  const late = new Promise<"pending">((resolve) => setTimeout(() => resolve("pending"), ms).unref());
  return await Promise.race([settled, late]);
}

/** Waits until `condition` gives something other than undefined and false. */
export async function until<T>(
  condition: () => T | undefined | false,
  what: string,
  ms = deadlineMs,
): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const value = condition();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > end) throw new Error(`${what}: not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** `fromEnvironment` with these variables for as long as it takes. */
export async function moduleFromEnvironment(environment: Record<string, string>): Promise<SdkModule> {
  const saved = { ...process.env };
  Object.assign(process.env, environment);
  try {
    const client = await within(device.ModuleClient.fromEnvironment(transport.Mqtt), "fromEnvironment");
    client.on("error", () => undefined);
    return client;
  } finally {
    for (const name of Object.keys(environment)) {
      if (saved[name] === undefined) delete process.env[name];
      else process.env[name] = saved[name];
    }
  }
}

export async function openModule(hub: EmbeddedHub, moduleId = "gateway"): Promise<SdkModule> {
  const client = await moduleFromEnvironment(hub.environment(moduleId));
  await within(client.open(), "open");
  return client;
}

export async function openDevice(
  hub: EmbeddedHub,
  deviceId: string,
  options: Partial<device.DeviceClientOptions> = {},
): Promise<SdkDevice> {
  const client = device.Client.fromConnectionString(hub.connectionString(deviceId), transport.Mqtt);
  client.on("error", () => undefined);
  await within(client.setOptions({ ca: hub.caPem, ...options }), "setOptions");
  await within(client.open(), "open");
  return client;
}

/** The SDK's close may never settle: it is given a second. */
export async function closeSdk(client: { close(): Promise<unknown> }): Promise<"settled" | "pending"> {
  return await fate(client.close(), 1_000);
}

export function report(twin: device.Twin, patch: object): Promise<void> {
  return within(
    new Promise((resolve, reject) => {
      twin.properties.reported.update(patch, (error: Error | null | undefined) => {
        if (error) reject(error);
        else resolve();
      });
    }),
    "reported.update",
  );
}

/** Answers that method with its own payload. */
export function echoMethod(client: SdkModule, name: string): void {
  client.onMethod(name, (request, response) => {
    response?.send(200, request?.payload).catch(() => undefined);
  });
}

export interface RawOptions extends IClientOptions {
  /** Token lifetime from now, default one hour. */
  readonly validMs?: number;
}

/** Options with which `mqtt` connects as that identity. */
export function rawOptions(
  hub: EmbeddedHub,
  deviceId: string,
  moduleId?: string,
  extra: RawOptions = {},
): IClientOptions {
  const { validMs = 3_600_000, ...rest } = extra;
  const keys = Object.fromEntries(
    hub
      .connectionString(deviceId, moduleId)
      .split(";")
      .map((part) => [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)]),
  );
  const path = moduleId === undefined ? deviceId : `${deviceId}/modules/${moduleId}`;
  const clientId = moduleId === undefined ? deviceId : `${deviceId}/${moduleId}`;
  return {
    protocolVersion: 4,
    clientId,
    username: `${hub.hostName}/${clientId}/?api-version=2021-04-12`,
    password: createSas(`${hub.hostName}/devices/${path}`, keys.SharedAccessKey ?? "", Date.now() + validMs),
    clean: false,
    ca: hub.caPem,
    reconnectPeriod: 0,
    keepalive: 30,
    ...rest,
  };
}

export async function connectRaw(
  hub: EmbeddedHub,
  deviceId: string,
  moduleId?: string,
  extra: RawOptions = {},
): Promise<MqttClient> {
  const client = mqtt.connect(`mqtts://localhost:${hub.port}`, rawOptions(hub, deviceId, moduleId, extra));
  client.on("error", () => undefined);
  await within(
    new Promise<void>((resolve, reject) => {
      client.once("connect", () => resolve());
      client.once("error", reject);
      client.once("close", () => reject(new Error("closed before CONNACK")));
    }),
    "connect",
  ).catch((error: unknown) => {
    client.end(true);
    throw error;
  });
  return client;
}

/** Requests and answers of the `$iothub` topics over a raw client. */
export class RawModule {
  readonly client: MqttClient;
  readonly received: {
    topic: string;
    payload: string;
    qos: number;
    dup: boolean;
    messageId: number | undefined;
  }[] = [];
  #lastRequest = 0;

  constructor(client: MqttClient) {
    this.client = client;
    client.on("message", (topic, payload, packet) => {
      const { qos, dup, messageId } = packet;
      this.received.push({ topic, payload: payload.toString(), qos, dup, messageId });
    });
  }

  async request(topic: string, payload: string): Promise<{ status: number; topic: string; payload: string }> {
    const requestId = `r${++this.#lastRequest}`;
    await this.client.publishAsync(`${topic}/?$rid=${requestId}`, payload);
    const answer = await until(
      () => this.received.find((message) => message.topic.includes(`$rid=${requestId}`)),
      `answer to ${topic}`,
    );
    const status = Number(/\/res\/(\d+)\//.exec(answer.topic)?.[1]);
    return { status, topic: answer.topic, payload: answer.payload };
  }

  getTwin() {
    return this.request("$iothub/twin/GET", "");
  }

  report(patch: object | string) {
    const payload = typeof patch === "string" ? patch : JSON.stringify(patch);
    return this.request("$iothub/twin/PATCH/properties/reported", payload);
  }
}
