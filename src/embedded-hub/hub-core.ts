import { EventEmitter } from "node:events";
import { Broker } from "./broker.ts";
import type { ServerCertificate } from "./certificates.ts";
import { Counters } from "./counters.ts";
import { Dialect, type DialectSink } from "./dialect.ts";
import { Faults } from "./faults.ts";
import { Deliveries, type Delivery } from "./inputs.ts";
import { type HubMessage, type ReceivedMessage, sourceOf, type UpstreamMessage } from "./messages.ts";
import { Methods } from "./methods.ts";
import { EdgeMetrics } from "./metrics.ts";
import type { EmbeddedHubOptions, HubLimits } from "./options.ts";
import { clientIdOf, type Identity, Registry } from "./registry.ts";
import { type Match, matchRoutes, parseRoute, type Routable, type Route } from "./routes.ts";
import type { TakeoverAlarm } from "./takeovers.ts";
import { MessageRecord } from "./telemetry.ts";
import { desiredTopic, type SubscriptionKind } from "./topics.ts";
import { type DesiredChange, Twins } from "./twins.ts";
import { Upstream } from "./upstream.ts";

export interface ConnectionChange {
  readonly clientId: string;
  readonly state: "connected" | "disconnected";
}

export interface HubEvents {
  readonly message: ReceivedMessage;
  readonly upstream: UpstreamMessage;
  readonly connection: ConnectionChange;
  readonly alarm: TakeoverAlarm;
}

const everythingUpstream = { everything: "FROM /messages/* INTO $upstream" };
const maxAlarms = 100;

/** The parts of the hub and what flows between them. */
export class HubCore implements DialectSink {
  readonly counters = new Counters();
  readonly metrics: EdgeMetrics;
  readonly faults = new Faults();
  readonly registry: Registry;
  readonly twins: Twins;
  readonly accepted: MessageRecord;
  readonly forwarded: MessageRecord;
  readonly upstream: Upstream;
  readonly deliveries: Deliveries;
  readonly methods: Methods;
  readonly broker: Broker;
  readonly alarms: TakeoverAlarm[] = [];
  readonly #events = new EventEmitter();
  readonly #routes: readonly Route[];
  readonly #deviceId: string;
  #sequence = 0;

  /** @throws RouteSyntaxError, or the error of opening a log file */
  constructor(options: {
    readonly given: EmbeddedHubOptions;
    /** The edge device, whose modules the routes lead to. */
    readonly deviceId: string;
    readonly hostName: string;
    readonly limits: HubLimits;
    readonly certificate: ServerCertificate;
    /** The names under which a client may address this hub. */
    readonly hostNames: () => readonly string[];
  }) {
    const { given, limits } = options;
    this.metrics = new EdgeMetrics(options.hostName, options.deviceId);
    const { counters, metrics, faults } = this;
    const timeToLiveSecs = given.timeToLiveSecs ?? 7_200;
    const mode = given.mode ?? "edgeHub";
    this.#routes = Object.entries(given.routes ?? everythingUpstream).map(([name, route]) =>
      parseRoute(name, route),
    );
    this.#deviceId = options.deviceId;
    this.registry = new Registry(limits.maxIdentities);
    this.twins = new Twins(mode);
    this.accepted = new MessageRecord("messages", limits.record, counters, given.messageLog);
    try {
      this.forwarded = new MessageRecord("upstreamMessages", limits.record, counters, given.upstreamLog);
    } catch (error) {
      this.accepted.close();
      throw error;
    }
    this.upstream = new Upstream({
      record: this.forwarded,
      counters,
      metrics,
      deviceId: options.deviceId,
      limits: limits.upstreamStore,
      timeToLiveSecs,
    });
    const { registry, twins } = this;
    const { hostNames } = options;
    const dialect = new Dialect({ registry, twins, faults, counters, metrics, mode, hostNames, sink: this });
    this.broker = new Broker({
      host: given.host ?? "127.0.0.1",
      port: given.port ?? 0,
      webSocketPort: given.webSocketPort,
      certificate: options.certificate,
      policy: dialect,
      faults,
      counters,
      limits,
      tokenExpiry: given.tokenExpiry ?? "ignore",
    });
    this.deliveries = new Deliveries({
      link: this.broker,
      counters,
      limits: limits.inputStore,
      redeliveryMs: given.inputRedeliveryMs ?? 30_000,
      timeToLiveSecs,
    });
    this.methods = new Methods(
      {
        isReady: (clientId) => this.broker.isReady(clientId, "methods"),
        send: (clientId, topic, payload) => this.broker.send(clientId, topic, payload),
      },
      () => faults.hit("methodBodyEmpty") !== undefined,
    );
    this.upstream.onMessage = (message) => this.#emit("upstream", message);
    this.twins.onDesired = (change) => this.#desired(change);
    this.twins.onRefusedByHub = () => counters.add("reportedPatchesRefusedByHub");
    this.broker.onTakeoverAlarm = (alarm) => this.#alarm(alarm);
  }

  on<K extends keyof HubEvents>(event: K, listener: (value: HubEvents[K]) => void): void {
    this.#events.on(event, listener);
  }

  off<K extends keyof HubEvents>(event: K, listener: (value: HubEvents[K]) => void): void {
    this.#events.off(event, listener);
  }

  /** In a microtask: a listener that throws is the listener's fault, not a packet's. */
  #emit<K extends keyof HubEvents>(event: K, value: HubEvents[K]): void {
    queueMicrotask(() => this.#events.emit(event, value));
  }

  /** What `/metrics` serves. */
  metricsText(): string {
    this.upstream.measure();
    this.metrics.set("edgehub_connected_clients", [], this.broker.connected);
    return this.metrics.text();
  }

  async stop(): Promise<void> {
    this.faults.clearAll();
    await this.broker.stop();
    this.methods.stop();
    this.deliveries.stop();
    this.accepted.close();
    this.forwarded.close();
  }

  // ------------------------------------------------------------ from the dialect

  telemetry(message: HubMessage, duplicate: boolean): void {
    const receivedAt = new Date().toISOString();
    const received: ReceivedMessage = { ...message, sequence: this.#sequence + 1, receivedAt, duplicate };
    this.accepted.add(received);
    this.#sequence = received.sequence;
    this.metrics.add("edgehub_messages_received_total", [message.output ?? "", sourceOf(message)]);
    this.#route({ kind: "telemetry", message: received }, received);
    this.#emit("message", received);
  }

  reported(identity: Identity, patch: Buffer): void {
    const { deviceId, moduleId } = identity;
    const systemProperties = {
      contentType: "application/json",
      contentEncoding: "utf-8",
      messageSchema: "twinChangeNotification",
    };
    const message = { deviceId, moduleId, output: undefined, systemProperties, properties: {}, body: patch };
    this.#route({ kind: "twinChange", message }, undefined);
  }

  methodAnswered(identity: Identity, requestId: string, status: number, body: Buffer): boolean {
    return this.methods.answered(identity.clientId, requestId, status, body);
  }

  acknowledged(identity: Identity, packetId: number): void {
    this.deliveries.acknowledged(identity.clientId, packetId);
  }

  opened(identity: Identity, present: boolean): void {
    this.#emit("connection", { clientId: identity.clientId, state: "connected" });
    this.#ready(identity.clientId, present);
  }

  subscribed(identity: Identity, _kind: SubscriptionKind): void {
    this.#ready(identity.clientId, true);
  }

  closed(identity: Identity): void {
    this.deliveries.disconnected(identity.clientId);
    this.#emit("connection", { clientId: identity.clientId, state: "disconnected" });
  }

  send(clientId: string, topic: string, payload: Buffer): void {
    this.broker.send(clientId, topic, payload);
  }

  /** Twin packets go to a connected client without a look at its subscriptions, unless that is asked for. */
  mayReceive(clientId: string, kind: SubscriptionKind): boolean {
    if (this.faults.peek("strictSubscriptions") === undefined) return this.broker.isConnected(clientId);
    return this.broker.isReady(clientId, kind);
  }

  // ------------------------------------------------------------ inside

  #ready(clientId: string, present: boolean): void {
    this.deliveries.ready(clientId, present);
    this.methods.ready(clientId);
  }

  #route(routable: Routable, received: ReceivedMessage | undefined): void {
    const matches = matchRoutes(this.#routes, routable);
    if (matches.length === 0 && routable.kind === "telemetry") {
      this.counters.add("messagesUnrouted");
      const labels = ["no_route", sourceOf(routable.message), routable.message.output ?? ""] as const;
      this.metrics.add("edgehub_messages_dropped_total", labels);
    }
    for (const match of matches) {
      if (match.endpoint.kind === "upstream") {
        const { message } = routable;
        const receivedAt = received?.receivedAt ?? new Date().toISOString();
        const duplicate = received?.duplicate ?? false;
        this.upstream.add({ ...message, receivedAt, duplicate, acceptedSequence: received?.sequence }, match);
      } else {
        const { moduleId, input } = match.endpoint;
        // Of the edge device, also for messages of its leaf devices.
        this.deliver(routable.message, { deviceId: this.#deviceId, moduleId }, input, match);
      }
    }
  }

  /** Queues a message for a module's input, or for a device; settles with its fate. */
  deliver(
    message: HubMessage,
    target: Delivery["target"],
    input: string | undefined,
    route: Pick<Match, "priority" | "timeToLiveSecs">,
  ): Promise<boolean> {
    const clientId = clientIdOf(target.deviceId, target.moduleId);
    return new Promise((settle) => {
      if (this.registry.find(clientId) === undefined) {
        this.counters.add("inputsDiscarded.unknownModule");
        settle(false);
        return;
      }
      this.deliveries.add(clientId, { ...message, target, input, settle }, route);
    });
  }

  #desired({ clientId, patch, version }: DesiredChange): void {
    if (!this.mayReceive(clientId, "desired")) {
      this.counters.add("desiredPatchesUnsent");
      return;
    }
    this.counters.add("desiredPatches");
    const body = Buffer.from(JSON.stringify({ ...patch, $version: version }));
    this.broker.send(clientId, desiredTopic(version), body);
  }

  #alarm(alarm: TakeoverAlarm): void {
    if (this.alarms.length >= maxAlarms) {
      this.alarms.shift();
      this.counters.add("alarmsEvicted");
    }
    this.alarms.push(alarm);
    this.#emit("alarm", alarm);
  }
}
