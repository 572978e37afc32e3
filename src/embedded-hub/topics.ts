/** Topics and property bags of the IoT Hub MQTT dialect. Pure functions of text. */

/** A property bag or topic that cannot be read. */
export class TopicError extends Error {
  override readonly name = "TopicError";
}

/** The keys of system properties in a bag, and the names under which this hub shows them. */
const systemKeys: Readonly<Record<string, string>> = {
  "$.mid": "messageId",
  "$.cid": "correlationId",
  "$.uid": "userId",
  "$.to": "to",
  "$.ct": "contentType",
  "$.ce": "contentEncoding",
  "$.exp": "expiryTimeUtc",
  "$.ctime": "creationTimeUtc",
  "$.schema": "messageSchema",
  "$.sub": "componentName",
  "$.ifid": "interfaceId",
  "iothub-operation": "operation",
};

/** What a delivered message may carry; the output name and the interface id stay behind at the edge hub. */
const forwardedKeys: readonly (readonly [name: string, key: string])[] = Object.entries(systemKeys)
  .filter(([key]) => key !== "$.ifid" && key !== "iothub-operation")
  .map(([key, name]) => [name, key] as const);

export interface MessageProperties {
  readonly output: string | undefined;
  readonly system: Readonly<Record<string, string>>;
  readonly application: Readonly<Record<string, string>>;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new TopicError(`property bag: "${text}" is not percent-encoded text`, { cause });
  }
}

/** Strict percent encoding: also what `encodeURIComponent` leaves alone. */
export function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** A bag's pairs in order. A key without `=` has the value "". @throws TopicError */
export function decodeBag(bag: string): readonly (readonly [key: string, value: string])[] {
  if (bag === "") return [];
  return bag
    .split("&")
    .filter((part) => part !== "")
    .map((part) => {
      const at = part.indexOf("=");
      return at < 0 ? [decode(part), ""] : [decode(part.slice(0, at)), decode(part.slice(at + 1))];
    });
}

export function encodeBag(pairs: Iterable<readonly [key: string, value: string]>): string {
  return Array.from(pairs, ([key, value]) => `${encode(key)}=${encode(value)}`).join("&");
}

/** Sorts a bag's pairs into output name, system and application properties. @throws TopicError */
export function readProperties(bag: string): MessageProperties {
  const system: Record<string, string> = {};
  const application: Record<string, string> = {};
  let output: string | undefined;
  for (const [key, value] of decodeBag(bag)) {
    const name = Object.hasOwn(systemKeys, key) ? systemKeys[key] : undefined;
    if (key === "$.on") output = value;
    else if (name !== undefined) system[name] = value;
    // defineProperty, not assignment: the key comes from the wire and may be `__proto__`.
    else
      Object.defineProperty(application, key, {
        value,
        enumerable: true,
        configurable: true,
        writable: true,
      });
  }
  return { output, system, application };
}

/** The bag of a message on its way to a module or device. `source` adds the connection's device and module. */
export function writeProperties(
  message: Pick<MessageProperties, "system" | "application">,
  source?: { readonly deviceId: string; readonly moduleId: string | undefined },
): string {
  const pairs: (readonly [string, string])[] = [];
  if (source !== undefined) {
    pairs.push(["$.cdid", source.deviceId]);
    if (source.moduleId !== undefined) pairs.push(["$.cmid", source.moduleId]);
  }
  for (const [name, key] of forwardedKeys) {
    const value = message.system[name];
    if (value !== undefined) pairs.push([key, value]);
  }
  pairs.push(...Object.entries(message.application));
  return encodeBag(pairs);
}

export type InboundTopic =
  | { readonly kind: "telemetry"; readonly clientId: string; readonly bag: string }
  | { readonly kind: "twinGet"; readonly requestId: string }
  | { readonly kind: "twinReported"; readonly requestId: string }
  | { readonly kind: "methodResponse"; readonly status: number; readonly requestId: string }
  | { readonly kind: "unknown" };

const telemetryTopic = /^devices\/([^/]+)(?:\/modules\/([^/]+))?\/messages\/events(?:\/(.*))?$/s;
const twinGetTopic = /^\$iothub\/twin\/GET\/?\?\$rid=([^&]+)/;
const twinReportedTopic = /^\$iothub\/twin\/PATCH\/properties\/reported\/?\?\$rid=([^&]+)/;
const methodResponseTopic = /^\$iothub\/methods\/res\/(-?\d+)\/?\?\$rid=([^&]+)/;

/** What a client's publication asks for. One trailing slash of a telemetry topic is not part of its bag. */
export function parseInboundTopic(topic: string): InboundTopic {
  const telemetry = telemetryTopic.exec(topic);
  if (telemetry !== null) {
    const [, deviceId = "", moduleId, bag = ""] = telemetry;
    const clientId = moduleId === undefined ? deviceId : `${deviceId}/${moduleId}`;
    return { kind: "telemetry", clientId, bag: bag.endsWith("/") ? bag.slice(0, -1) : bag };
  }
  const get = twinGetTopic.exec(topic);
  if (get?.[1] !== undefined) return { kind: "twinGet", requestId: get[1] };
  const reported = twinReportedTopic.exec(topic);
  if (reported?.[1] !== undefined) return { kind: "twinReported", requestId: reported[1] };
  const response = methodResponseTopic.exec(topic);
  if (response?.[2] !== undefined) {
    return { kind: "methodResponse", status: Number(response[1]), requestId: response[2] };
  }
  return { kind: "unknown" };
}

export type SubscriptionKind = "twinAnswers" | "desired" | "methods" | "inputs" | "deviceBound";

/**
 * What a filter subscribes `clientId` to, or undefined when the hub knows no such filter for this identity
 * (it is then acknowledged and has no effect, as at edge hub).
 */
export function subscriptionKind(filter: string, clientId: string): SubscriptionKind | undefined {
  if (filter === "$iothub/twin/res/#") return "twinAnswers";
  if (filter.startsWith("$iothub/twin/PATCH/properties/desired/")) return "desired";
  if (filter.startsWith("$iothub/methods/POST/")) return "methods";
  const [deviceId, moduleId] = clientId.split("/");
  if (moduleId === undefined) {
    return filter === `devices/${deviceId}/messages/devicebound/#` ? "deviceBound" : undefined;
  }
  const own = `devices/${deviceId}/modules/${moduleId}/`;
  return filter === `${own}#` || filter === `${own}inputs/#` ? "inputs" : undefined;
}

/** The slash after the input name is not optional: without it SDKs acknowledge and drop the message. */
export function inputTopic(deviceId: string, moduleId: string, input: string, bag: string): string {
  return `devices/${deviceId}/modules/${moduleId}/inputs/${input}/${bag}`;
}

export function deviceBoundTopic(deviceId: string, bag: string): string {
  return `devices/${deviceId}/messages/devicebound/${bag}`;
}

export function twinAnswerTopic(status: number, requestId: string, version?: number): string {
  const suffix = version === undefined ? "" : `&$version=${version}`;
  return `$iothub/twin/res/${status}/?$rid=${requestId}${suffix}`;
}

export function desiredTopic(version: number): string {
  return `$iothub/twin/PATCH/properties/desired/?$version=${version}`;
}

export function methodTopic(name: string, requestId: string): string {
  return `$iothub/methods/POST/${name}/?$rid=${requestId}`;
}
