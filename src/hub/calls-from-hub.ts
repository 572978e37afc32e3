import { messageOf } from "../core/errors.ts";
import type { JsonValue } from "../core/json.ts";
import { bagOf, type Incoming, methodAnswerTopic } from "./dialect.ts";
import type { HubClientEvents, InputMessage, MethodAnswer } from "./hub-client.ts";
import { parsed } from "./twin-requests.ts";

/**
 * Hands a method request or an input message to the gateway; what resolves may be acknowledged.
 * Undefined when the packet is neither, or a method that nobody takes.
 */
export function callFromHub(
  packet: Incoming,
  payload: Buffer,
  events: HubClientEvents,
  respond: (topic: string, body: string) => void,
  waits: boolean,
): Promise<void> | undefined {
  if (packet.kind === "method" && events.method) {
    const { name, requestId } = packet;
    return methodAnswer(events.method, name, payload).then(({ status, payload: answer }) =>
      respond(methodAnswerTopic(status, requestId), JSON.stringify(answer)),
    );
  }
  if (packet.kind !== "input") return undefined;
  // Of a session that subscribed once: the hub keeps it.
  if (!events.input || (waits && events.wantsInputs === false))
    return Promise.reject(new Error("nobody takes messages of the hub"));
  return events.input(inputMessage(packet, payload, waits));
}

async function methodAnswer(
  method: NonNullable<HubClientEvents["method"]>,
  name: string,
  payload: Buffer,
): Promise<MethodAnswer> {
  const request = parsed(payload);
  if (request === undefined) return { status: 400, payload: { message: "the request is not JSON" } };
  try {
    return await method(name, request as JsonValue);
  } catch (error) {
    return { status: 500, payload: { message: messageOf(error) } };
  }
}

/** System properties of the bag that have a place of their own, or that mean nothing to a receiver. */
const known = new Set(["$.mid", "$.ct", "$.ce", "$.to", "$.exp"]);

function inputMessage(
  packet: Extract<Incoming, { kind: "input" }>,
  body: Buffer,
  waits: boolean,
): InputMessage {
  const bag = bagOf(packet.bag);
  return {
    input: packet.input,
    id: bag.get("$.mid"),
    contentType: bag.get("$.ct"),
    contentEncoding: bag.get("$.ce"),
    properties: Object.fromEntries([...bag].filter(([name]) => !known.has(name))),
    body,
    waits,
  };
}
