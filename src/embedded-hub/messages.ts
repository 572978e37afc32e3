/** A message on its way through the hub. */
export interface HubMessage {
  readonly deviceId: string;
  readonly moduleId: string | undefined;
  /** The module's output name; messages of devices have none. */
  readonly output: string | undefined;
  /** By name: messageId, correlationId, userId, to, contentType, contentEncoding, creationTimeUtc … */
  readonly systemProperties: Readonly<Record<string, string>>;
  /** The application's own properties. */
  readonly properties: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** A message as it was received, numbered from 1 in the order of acceptance. */
export interface ReceivedMessage extends HubMessage {
  readonly sequence: number;
  /** ISO 8601, UTC. */
  readonly receivedAt: string;
  /** The DUP flag of the packet. The Azure SDK repeats messages without it. */
  readonly duplicate: boolean;
}

/** A message that reached the cloud side. Its `sequence` is its place in the order of arrival there. */
export interface UpstreamMessage extends ReceivedMessage {
  /** Its sequence when it was accepted; undefined for a twin change notification. */
  readonly acceptedSequence: number | undefined;
  /** ISO 8601, UTC. */
  readonly forwardedAt: string;
}

/** The identity it comes from, `device` or `device/module`. */
export function sourceOf({ deviceId, moduleId }: Pick<HubMessage, "deviceId" | "moduleId">): string {
  return moduleId === undefined ? deviceId : `${deviceId}/${moduleId}`;
}

/** What a message occupies in a bounded list. */
export function messageBytes(message: HubMessage): number {
  let bytes = message.body.length + 200;
  for (const record of [message.systemProperties, message.properties]) {
    for (const [key, value] of Object.entries(record)) bytes += 2 * (key.length + value.length);
  }
  return bytes;
}

/** A JSON value for the body if the message says it is JSON in UTF-8 and it parses. */
export function jsonBody(
  message: Pick<HubMessage, "systemProperties" | "body">,
): { readonly value: unknown } | undefined {
  const { contentType = "", contentEncoding = "utf-8" } = message.systemProperties;
  if (!/^application\/json\s*(;|$)/i.test(contentType) || !/^utf-?8$/i.test(contentEncoding))
    return undefined;
  try {
    return { value: JSON.parse(message.body.toString("utf8")) };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The form of a message in the logs and on the control interface. */
export function messageJson(message: ReceivedMessage | UpstreamMessage): Record<string, unknown> {
  const json = jsonBody(message);
  return {
    sequence: message.sequence,
    receivedAt: message.receivedAt,
    ...("forwardedAt" in message
      ? { forwardedAt: message.forwardedAt, acceptedSequence: message.acceptedSequence }
      : {}),
    deviceId: message.deviceId,
    moduleId: message.moduleId,
    output: message.output,
    properties: message.properties,
    systemProperties: message.systemProperties,
    ...(message.duplicate ? { duplicate: true } : {}),
    ...(json === undefined ? { bodyBase64: message.body.toString("base64") } : { body: json.value }),
  };
}
