import type { BrokerPolicy, ConnectVerdict } from "./broker.ts";
import type { Counters } from "./counters.ts";
import type { Faults } from "./faults.ts";
import type { HubMessage } from "./messages.ts";
import type { EdgeMetrics } from "./metrics.ts";
import type { ConnectPacket, PublishPacket, Will } from "./mqtt-codec.ts";
import type { Identity, Registry } from "./registry.ts";
import { verifySas } from "./sas.ts";
import {
  parseInboundTopic,
  readProperties,
  type SubscriptionKind,
  TopicError,
  twinAnswerTopic,
} from "./topics.ts";
import type { Twins } from "./twins.ts";

/** What the dialect hands on to the rest of the hub. */
export interface DialectSink {
  /** @throws when the message could not be kept or forwarded; it is then not acknowledged */
  telemetry(message: HubMessage, duplicate: boolean): void;
  reported(identity: Identity, patch: Buffer): void;
  /** False when nobody waits for that answer. */
  methodAnswered(identity: Identity, requestId: string, status: number, body: Buffer): boolean;
  acknowledged(identity: Identity, packetId: number): void;
  opened(identity: Identity, present: boolean): void;
  subscribed(identity: Identity, kind: SubscriptionKind): void;
  closed(identity: Identity): void;
  /** Sends to one client at QoS 0. */
  send(clientId: string, topic: string, payload: Buffer): void;
  /** Whether the client may be sent that kind of packet now. */
  mayReceive(clientId: string, kind: SubscriptionKind): boolean;
}

const usernamePattern = /^([^/]+)\/([^/]+)(?:\/([^/?]+))?\/\??([^/?]*=.*)$/s;
const empty = Buffer.alloc(0);

/** Who a CONNECT claims to be. The api-version has to be there; its value and other parameters do not matter. */
export function parseUsername(username: string): { hostName: string; clientId: string } | undefined {
  const match = usernamePattern.exec(username);
  if (match === null) return undefined;
  const [, hostName = "", deviceId = "", moduleId, query = ""] = match;
  if (!new URLSearchParams(query).get("api-version")) return undefined;
  const parts = moduleId === undefined ? [deviceId] : [deviceId, moduleId];
  return { hostName, clientId: parts.join("/") };
}

/** The IoT Hub dialect: what clients may say and what they are answered. */
export class Dialect implements BrokerPolicy {
  readonly #registry: Registry;
  readonly #twins: Twins;
  readonly #faults: Faults;
  readonly #counters: Counters;
  readonly #metrics: EdgeMetrics;
  readonly #mode: "edgeHub" | "hub";
  readonly #hostNames: () => readonly string[];
  readonly #sink: DialectSink;
  /** Telemetry messages since dropOnMessage is on. */
  #seenByFault = 0;

  constructor(options: {
    readonly registry: Registry;
    readonly twins: Twins;
    readonly faults: Faults;
    readonly counters: Counters;
    readonly metrics: EdgeMetrics;
    readonly mode: "edgeHub" | "hub";
    /** The names under which a client may address this hub. */
    readonly hostNames: () => readonly string[];
    readonly sink: DialectSink;
  }) {
    this.#registry = options.registry;
    this.#twins = options.twins;
    this.#faults = options.faults;
    this.#counters = options.counters;
    this.#metrics = options.metrics;
    this.#mode = options.mode;
    this.#hostNames = options.hostNames;
    this.#sink = options.sink;
  }

  authenticate(packet: ConnectPacket): ConnectVerdict {
    const refuse = (reason: string): ConnectVerdict => ({ ok: false, returnCode: 5, reason });
    const claimed = parseUsername(packet.username ?? "");
    if (claimed === undefined) return refuse("username");
    if (claimed.clientId !== packet.clientId) return refuse("clientId");
    if (!this.#hostNames().includes(claimed.hostName.toLowerCase())) return refuse("hostName");
    const identity = this.#registry.find(claimed.clientId);
    if (identity === undefined) return refuse("unknownIdentity");
    if (identity.status === "disabled") return refuse("disabled");
    const device = this.#registry.find(identity.deviceId);
    if (device?.status === "disabled") return refuse("disabled");
    const module = identity.moduleId === undefined ? "" : `/modules/${identity.moduleId}`;
    const resource = `${claimed.hostName}/devices/${identity.deviceId}${module}`;
    const { primaryKey, secondaryKey } = identity.keys;
    const verdict = verifySas(packet.password ?? "", [resource], [primaryKey, secondaryKey], Date.now());
    return verdict.ok ? { ok: true, identity, expiresAtMs: verdict.expiresAtMs } : refuse(verdict.reason);
  }

  opened(identity: Identity, session: { readonly present: boolean }): void {
    this.#sink.opened(identity, session.present);
  }

  subscribed(identity: Identity, kind: SubscriptionKind): void {
    this.#sink.subscribed(identity, kind);
  }

  acknowledged(identity: Identity, packetId: number): void {
    this.#sink.acknowledged(identity, packetId);
  }

  /** A will is telemetry with a mark (IoT Hub: `iothub-MessageType`). */
  closed(identity: Identity, will: Will | undefined): void {
    this.#sink.closed(identity);
    if (will === undefined) return;
    const topic = parseInboundTopic(will.topic);
    if (topic.kind !== "telemetry" || topic.clientId !== identity.clientId) {
      this.#counters.add("willsIgnored");
      return;
    }
    this.#accept(identity, topic.bag, will.payload, {
      duplicate: false,
      mark: ["iothub-MessageType", "Will"],
    });
  }

  received(identity: Identity, packet: PublishPacket): "accepted" | "close" {
    const topic = parseInboundTopic(packet.topic);
    switch (topic.kind) {
      case "telemetry":
        if (topic.clientId !== identity.clientId) {
          this.#counters.add("publishesRefused");
          return "close";
        }
        if (this.#isDropped(packet.payload)) {
          this.#counters.add("faultDroppedOnMessage");
          return "close";
        }
        return this.#accept(identity, topic.bag, packet.payload, {
          duplicate: packet.dup,
          mark: packet.retain ? ["mqtt-retain", "true"] : undefined,
        });
      case "twinGet":
        this.#twinGet(identity, topic.requestId);
        return "accepted";
      case "twinReported":
        this.#twinReported(identity, topic.requestId, packet.payload);
        return "accepted";
      case "methodResponse":
        if (!this.#sink.methodAnswered(identity, topic.requestId, topic.status, packet.payload)) {
          this.#counters.add("methodAnswersUnmatched");
        }
        return "accepted";
      case "unknown":
        this.#counters.add("publishesIgnored");
        return "accepted";
      default:
        return topic satisfies never;
    }
  }

  #isDropped(payload: Buffer): boolean {
    const fault = this.#faults.peek("dropOnMessage");
    this.#seenByFault = fault === undefined ? 0 : this.#seenByFault + 1;
    if (fault === undefined) return false;
    const matches =
      fault.every === undefined
        ? payload.includes(fault.bodyIncludes ?? "")
        : this.#seenByFault % fault.every === 0;
    if (matches) this.#faults.hit("dropOnMessage");
    return matches;
  }

  #accept(
    identity: Identity,
    bag: string,
    body: Buffer,
    origin: { readonly duplicate: boolean; readonly mark: readonly [string, string] | undefined },
  ): "accepted" | "close" {
    try {
      const { output, system, application } = readProperties(bag);
      const marked =
        origin.mark === undefined ? application : { ...application, [origin.mark[0]]: origin.mark[1] };
      const { deviceId, moduleId } = identity;
      const message = { deviceId, moduleId, output, systemProperties: system, properties: marked, body };
      this.#sink.telemetry(message, origin.duplicate);
      return "accepted";
    } catch (error) {
      // A message that cannot be read or kept must not be acknowledged; cutting the connection is all MQTT has.
      this.#counters.add(error instanceof TopicError ? "bagsMalformed" : "messagesNotKept");
      return "close";
    }
  }

  #answerTwin(identity: Identity, topic: string, payload: Buffer): void {
    if (!this.#sink.mayReceive(identity.clientId, "twinAnswers")) {
      this.#counters.add("twinAnswersUnsent");
      return;
    }
    this.#sink.send(identity.clientId, topic, payload);
  }

  #twinGet(identity: Identity, requestId: string): void {
    this.#counters.add("twinGets");
    this.#metrics.add("edgehub_gettwin_total", ["upstream", identity.clientId]);
    if (this.#faults.hit("twinGetUnanswered") !== undefined) return;
    const rejected = this.#faults.hit("twinGetRejected");
    if (rejected !== undefined) {
      this.#answerTwin(identity, twinAnswerTopic(rejected.status, requestId), empty);
      return;
    }
    const whole = Buffer.from(JSON.stringify(this.#twins.deviceView(identity.clientId)));
    const isEmpty = this.#faults.hit("twinGetEmpty") !== undefined;
    const isMalformed = this.#faults.hit("twinGetMalformed") !== undefined;
    const body = isEmpty ? empty : isMalformed ? whole.subarray(0, whole.length >> 1) : whole;
    this.#answerTwin(identity, twinAnswerTopic(200, requestId), body);
  }

  /** Edge hub answers errors with an empty body and success without a version; the hub sends both. */
  #twinReported(identity: Identity, requestId: string, payload: Buffer): void {
    this.#counters.add("reportedPatches");
    this.#metrics.add("edgehub_reported_properties_total", ["upstream", identity.clientId]);
    const fault = this.#faults.hit("reportedRejected");
    if (fault !== undefined) {
      const message = { errorCode: fault.status * 1000 + 1, message: "rejected (fault reportedRejected)" };
      const body = fault.body === "json" ? Buffer.from(JSON.stringify(message)) : empty;
      this.#answerTwin(identity, twinAnswerTopic(fault.status, requestId), body);
      return;
    }
    const verdict = this.#twins.report(identity.clientId, parsed(payload));
    if (verdict.ok) {
      const version = this.#mode === "hub" ? verdict.version : undefined;
      this.#answerTwin(identity, twinAnswerTopic(204, requestId, version), empty);
      this.#sink.reported(identity, payload);
      return;
    }
    this.#counters.add("reportedPatchesRefused");
    const error = JSON.stringify({ errorCode: 400004, message: verdict.message });
    this.#answerTwin(
      identity,
      twinAnswerTopic(400, requestId),
      this.#mode === "hub" ? Buffer.from(error) : empty,
    );
  }
}

/** undefined for what is not JSON, which no patch is. */
function parsed(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString("utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
