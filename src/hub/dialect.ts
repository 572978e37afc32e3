/** Topics, names and tokens of IoT Hub's and edge hub's MQTT dialect (learn.microsoft.com, "Communicate with an IoT hub using the MQTT protocol"). Pure functions of text. */
import type { HubMessage } from "./hub-client.ts";

export interface Identity {
  /** The hub's own name, never the gateway's. */
  readonly hubHost: string;
  readonly deviceId: string;
  readonly moduleId: string | undefined;
}

/** IoT Hub counts body and properties; edge hub closes the connection on a larger packet (behind its fixed header). */
export const maxPacketBytes = 262_144;

export function clientIdOf({ deviceId, moduleId }: Identity): string {
  return moduleId === undefined ? deviceId : `${deviceId}/${moduleId}`;
}

export function usernameOf(identity: Identity, productInfo: string): string {
  const type = encodeURIComponent(productInfo);
  return `${identity.hubHost}/${clientIdOf(identity)}/?api-version=2021-04-12&DeviceClientType=${type}`;
}

/** What a shared access signature is for: signed and sent in this encoded form. */
function resourceOf({ hubHost, deviceId, moduleId }: Identity): string {
  const module = moduleId === undefined ? "" : `/modules/${moduleId}`;
  return strictlyEncoded(`${hubHost}/devices/${deviceId}${module}`);
}

/** `sign` gives the base64 of HMAC-SHA256 with the identity's key. */
export async function sasToken(
  identity: Identity,
  expiresAtS: number,
  sign: (text: string) => Promise<string>,
): Promise<string> {
  const resource = resourceOf(identity);
  const signature = strictlyEncoded(await sign(`${resource}\n${expiresAtS}`));
  return `SharedAccessSignature sr=${resource}&sig=${signature}&se=${expiresAtS}`;
}

/** Percent encoding that leaves only letters, digits and `- . _ ~` (RFC 3986 section 2.3). */
function strictlyEncoded(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

const unreserved = /^[\w.~-]*$/;
/** Most names and values need no encoding, and finding that out is ten times as fast. */
const encoded = (text: string) => (unreserved.test(text) ? text : encodeURIComponent(text));

/** The property bag stands in the topic: output, message id, content type and encoding, then the application's. */
export function telemetryTopic(identity: Identity, message: HubMessage): string {
  const { id, output, contentType, contentEncoding, properties } = message;
  const { deviceId, moduleId } = identity;
  const system = `%24.mid=${encoded(id)}&%24.ct=${encoded(contentType)}&%24.ce=${encoded(contentEncoding)}`;
  let bag =
    moduleId === undefined
      ? `devices/${deviceId}/messages/events/${system}`
      : `devices/${deviceId}/modules/${moduleId}/messages/events/%24.on=${encoded(output)}&${system}`;
  for (const name in properties) bag += `&${encoded(name)}=${encoded(properties[name] ?? "")}`;
  // A device has no outputs; the property lets the hub's routes tell them apart all the same.
  return moduleId === undefined ? `${bag}&output=${encoded(output)}` : bag;
}

export const twinAnswers = "$iothub/twin/res/#";
export const desiredPatches = "$iothub/twin/PATCH/properties/desired/#";
export const twinGetTopic = (requestId: string) => `$iothub/twin/GET/?$rid=${requestId}`;
export const twinReportTopic = (requestId: string) =>
  `$iothub/twin/PATCH/properties/reported/?$rid=${requestId}`;

export const methodCalls = "$iothub/methods/POST/#";
export const methodAnswerTopic = (status: number, requestId: string) =>
  `$iothub/methods/res/${status}/?$rid=${requestId}`;

/** A module's inputs; a device's messages from the cloud. */
export function inputMessages({ deviceId, moduleId }: Identity): string {
  return moduleId === undefined
    ? `devices/${deviceId}/messages/devicebound/#`
    : `devices/${deviceId}/modules/${moduleId}/inputs/#`;
}

/** A property bag's pairs; text that is not percent-encoded stands for itself. */
export function bagOf(bag: string): ReadonlyMap<string, string> {
  const pairs = bag
    .split("&")
    .filter((part) => part !== "")
    .map((part) => {
      const [name = "", ...value] = part.split("=");
      return [decoded(name), decoded(value.join("="))] as const;
    });
  return new Map(pairs);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

export type Incoming =
  | { readonly kind: "twinAnswer"; readonly status: number; readonly requestId: string }
  | { readonly kind: "desired" }
  | { readonly kind: "method"; readonly name: string; readonly requestId: string }
  | { readonly kind: "input"; readonly input: string | undefined; readonly bag: string }
  | { readonly kind: "other" };

const methodCall = /^\$iothub\/methods\/POST\/([^/]+)\/\?(?:.*&)?\$rid=([^&]*)/;
const input = /^devices\/[^/]+\/modules\/[^/]+\/inputs\/([^/]+)(?:\/(.*))?$/;
const deviceBound = /^devices\/[^/]+\/messages\/devicebound(?:\/(.*))?$/;
const twinAnswer = /^\$iothub\/twin\/res\/(\d+)\/\?(?:.*&)?\$rid=([^&]*)/;

export function incoming(topic: string): Incoming {
  const answer = twinAnswer.exec(topic);
  if (answer) return { kind: "twinAnswer", status: Number(answer[1]), requestId: answer[2] ?? "" };
  if (topic.startsWith("$iothub/twin/PATCH/properties/desired/")) return { kind: "desired" };
  const call = methodCall.exec(topic);
  if (call) return { kind: "method", name: call[1] ?? "", requestId: call[2] ?? "" };
  const message = input.exec(topic);
  if (message) return { kind: "input", input: message[1], bag: message[2] ?? "" };
  const toDevice = deviceBound.exec(topic);
  return toDevice ? { kind: "input", input: undefined, bag: toDevice[1] ?? "" } : { kind: "other" };
}
