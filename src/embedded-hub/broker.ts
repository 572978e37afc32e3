import type { Duplex } from "node:stream";
import type { ServerCertificate } from "./certificates.ts";
import {
  type Client,
  type CloseReason,
  Connection,
  type ConnectionLimits,
  type ConnectionOwner,
} from "./connection.ts";
import type { Counters } from "./counters.ts";
import type { Faults } from "./faults.ts";
import { Listener } from "./listener.ts";
import {
  type ClientPacket,
  type ConnectPacket,
  type Filter,
  type PublishPacket,
  pingresp,
  puback,
  suback,
  unsuback,
  type Will,
} from "./mqtt-codec.ts";
import type { Identity } from "./registry.ts";
import { Sessions } from "./sessions.ts";
import { type TakeoverAlarm, TakeoverWatch } from "./takeovers.ts";
import { type SubscriptionKind, subscriptionKind } from "./topics.ts";

export type ConnectVerdict =
  | { readonly ok: true; readonly identity: Identity; readonly expiresAtMs: number }
  | { readonly ok: false; readonly returnCode: 1 | 2 | 3 | 4 | 5; readonly reason: string };

/** What the hub makes of the clients' packets. */
export interface BrokerPolicy {
  authenticate(packet: ConnectPacket): ConnectVerdict;
  /** `present`: the client's session was kept, so that a delivery of before may be repeated. */
  opened(identity: Identity, session: { readonly present: boolean }): void;
  closed(identity: Identity, will: Will | undefined): void;
  subscribed(identity: Identity, kind: SubscriptionKind): void;
  /** "close" refuses the message and cuts the connection; the message is then not acknowledged. */
  received(identity: Identity, packet: PublishPacket): "accepted" | "close";
  acknowledged(identity: Identity, packetId: number): void;
}

export interface BrokerLimits extends ConnectionLimits {
  readonly maxConnections: number;
  readonly maxFiltersPerSession: number;
}

export interface ConnectionStatus {
  readonly clientId: string;
  readonly since: string;
  readonly subscriptions: readonly string[];
  readonly tokenExpiresAt: string;
}

/** For the status: how the latest connections ended. */
export interface CloseRecord {
  readonly at: string;
  readonly clientId: string | undefined;
  readonly reason: CloseReason;
  /** What exactly the protocol forbids, or the error of the socket. */
  readonly detail: string | undefined;
}

const maxTimerMs = 2 ** 31 - 1;
const maxRecentCloses = 20;
const maxDelayedAcknowledgements = 100_000;

/**
 * The broker of the dialect. There is no topic tree: every packet has one receiver, because the `$iothub/…`
 * topics are the same text for all clients and a tree would show one module's twin to another.
 */
export class Broker implements ConnectionOwner {
  readonly #policy: BrokerPolicy;
  readonly #faults: Faults;
  readonly #counters: Counters;
  readonly #limits: BrokerLimits;
  readonly #tokenExpiry: "ignore" | "disconnect";
  readonly #connections = new Set<Connection>();
  readonly #clients = new Map<string, Connection>();
  readonly #sessions = new Sessions();
  readonly #takeovers = new TakeoverWatch();
  readonly #expiryTimers = new Map<Connection, NodeJS.Timeout>();
  readonly #recentCloses: CloseRecord[] = [];
  readonly #acknowledgementTimers = new Set<NodeJS.Timeout>();
  readonly listener: Listener;
  onTakeoverAlarm: (alarm: TakeoverAlarm) => void = () => undefined;

  constructor(options: {
    readonly host: string;
    readonly port: number;
    readonly webSocketPort: number | undefined;
    readonly certificate: ServerCertificate;
    readonly policy: BrokerPolicy;
    readonly faults: Faults;
    readonly counters: Counters;
    readonly limits: BrokerLimits;
    readonly tokenExpiry: "ignore" | "disconnect";
  }) {
    this.#policy = options.policy;
    this.#faults = options.faults;
    this.#counters = options.counters;
    this.#limits = options.limits;
    this.#tokenExpiry = options.tokenExpiry;
    this.listener = new Listener({ ...options, accept: (socket) => this.#accept(socket) });
  }

  // ------------------------------------------------------------ towards the clients

  isConnected(clientId: string): boolean {
    return this.#clients.has(clientId);
  }

  /** Connected and subscribed to that kind of message. */
  isReady(clientId: string, kind: SubscriptionKind): boolean {
    return this.#clients.get(clientId)?.client?.session.qosOf(kind) !== undefined;
  }

  /** Sends at QoS 0; false when the client is not there. */
  send(clientId: string, topic: string, payload: Buffer): boolean {
    const connection = this.#clients.get(clientId);
    const isTwinAnswer = topic.startsWith("$iothub/twin/res/");
    const isCut = isTwinAnswer && this.#faults.hit("cutInTwinAnswer") !== undefined;
    const delayed = isTwinAnswer ? this.#faults.hit("delayTwinAnswer") : undefined;
    const answer = () => {
      if (isCut) connection?.cutInside({ topic, payload, qos: 0 });
      else connection?.publish({ topic, payload, qos: 0 });
    };
    if (delayed === undefined) answer();
    else setTimeout(answer, delayed.ms).unref();
    return connection !== undefined;
  }

  /**
   * Sends at the QoS that the client subscribed with. The packet identifier that it will acknowledge, 0 if it
   * subscribed with QoS 0, undefined when it is not there. `repeat` sends that identifier again, marked DUP.
   */
  deliver(
    clientId: string,
    kind: SubscriptionKind,
    message: { readonly topic: string; readonly payload: Buffer; readonly repeat: number | undefined },
  ): number | undefined {
    const connection = this.#clients.get(clientId);
    const session = connection?.client?.session;
    const qos = session?.qosOf(kind);
    if (connection === undefined || session === undefined || qos === undefined) return undefined;
    const { topic, payload, repeat } = message;
    if (qos === 0) {
      connection.publish({ topic, payload, qos });
      return 0;
    }
    const packetId = repeat ?? session.nextPacketId();
    connection.publish({ topic, payload, qos, packetId, dup: repeat !== undefined });
    return packetId;
  }

  /** Cuts one client's connection, or all. Returns how many. */
  kill(reason: CloseReason, clientId?: string): number {
    const chosen = [...this.#connections].filter(
      (connection) => clientId === undefined || connection.client?.identity.clientId === clientId,
    );
    for (const connection of chosen) connection.close(reason);
    return chosen.length;
  }

  forgetSession(clientId: string): void {
    this.#sessions.delete(clientId);
  }

  forgetSessions(): void {
    this.#counters.add("sessionsDropped", this.#sessions.clear());
  }

  get connected(): number {
    return this.#clients.size;
  }

  status(): {
    readonly connections: readonly ConnectionStatus[];
    readonly sessions: number;
    readonly recentCloses: readonly CloseRecord[];
  } {
    const connections = Array.from(this.#clients, ([clientId, connection]) => ({
      clientId,
      since: new Date(connection.since).toISOString(),
      subscriptions: connection.client?.session.filters ?? [],
      tokenExpiresAt: new Date(connection.client?.tokenExpiresAtMs ?? 0).toISOString(),
    }));
    return { connections, sessions: this.#sessions.size, recentCloses: [...this.#recentCloses] };
  }

  async stop(): Promise<void> {
    this.kill("hubStopped");
    await this.listener.stop();
    for (const timer of this.#acknowledgementTimers) clearTimeout(timer);
    this.#acknowledgementTimers.clear();
  }

  // ------------------------------------------------------------ from the clients

  #accept(socket: Duplex): void {
    this.#counters.add("connectionsAccepted");
    this.#connections.add(new Connection(socket, this, this.#limits));
  }

  connectReceived(connection: Connection, packet: ConnectPacket): void {
    this.#counters.add("connects");
    const verdict = this.#judge(packet);
    if (!verdict.ok) {
      this.#counters.add("connectsRefused");
      this.#counters.add(`connectsRefused.${verdict.reason}`);
      connection.refuse(verdict.returnCode, verdict.reason);
      return;
    }
    const { identity } = verdict;
    this.#takeOver(identity.clientId);
    const { session, present } = this.#sessions.open(identity.clientId, packet.clean);
    const client: Client = { identity, session, tokenExpiresAtMs: verdict.expiresAtMs };
    this.#clients.set(identity.clientId, connection);
    this.#armExpiry(connection, verdict.expiresAtMs);
    connection.accept(client, present);
    this.#policy.opened(identity, { present });
  }

  #judge(packet: ConnectPacket): ConnectVerdict {
    if (packet.protocolName !== "MQTT" || packet.protocolLevel !== 4) {
      return { ok: false, returnCode: 1, reason: "protocolVersion" };
    }
    if (this.#faults.hit("connackUnavailable") !== undefined) {
      return { ok: false, returnCode: 3, reason: "fault" };
    }
    const refused = this.#faults.hit("connackRefused");
    if (refused !== undefined) return { ok: false, returnCode: refused.returnCode, reason: "fault" };
    return this.#policy.authenticate(packet);
  }

  #takeOver(clientId: string): void {
    const earlier = this.#clients.get(clientId);
    if (earlier === undefined) return;
    this.#counters.add("takeovers");
    const alarm = this.#takeovers.record(clientId, Date.now());
    earlier.close("takenOver");
    if (alarm !== undefined) {
      this.#counters.add("takeoverAlarms");
      this.onTakeoverAlarm(alarm);
    }
  }

  #armExpiry(connection: Connection, expiresAtMs: number): void {
    if (this.#tokenExpiry === "ignore") return;
    const leftMs = Math.min(Math.max(expiresAtMs - Date.now(), 0), maxTimerMs);
    const timer = setTimeout(() => {
      this.#counters.add("tokensExpired");
      connection.close("tokenExpired");
    }, leftMs);
    this.#expiryTimers.set(connection, timer);
  }

  closed(connection: Connection, reason: CloseReason, detail: string | undefined): void {
    this.#connections.delete(connection);
    clearTimeout(this.#expiryTimers.get(connection));
    this.#expiryTimers.delete(connection);
    this.#counters.add(`connectionsClosed.${reason}`);
    const identity = connection.client?.identity;
    if (this.#recentCloses.length >= maxRecentCloses) this.#recentCloses.shift();
    this.#recentCloses.push({ at: new Date().toISOString(), clientId: identity?.clientId, reason, detail });
    if (identity === undefined || this.#clients.get(identity.clientId) !== connection) return;
    this.#clients.delete(identity.clientId);
    this.#policy.closed(identity, connection.endedByClient ? undefined : connection.will);
  }

  packetReceived(connection: Connection, packet: Exclude<ClientPacket, ConnectPacket>): void {
    const client = connection.client;
    if (client === undefined) return;
    switch (packet.type) {
      case "publish":
        this.#publishReceived(connection, client, packet);
        return;
      case "puback":
        this.#policy.acknowledged(client.identity, packet.packetId);
        return;
      case "subscribe":
        this.#subscribe(connection, client, packet.packetId, packet.filters);
        return;
      case "unsubscribe":
        for (const filter of packet.filters) client.session.unsubscribe(filter);
        connection.send(unsuback(packet.packetId));
        return;
      case "pingreq":
        connection.send(pingresp);
        return;
      case "disconnect":
        connection.endedByClient = true;
        connection.close("disconnected", { how: "flush" });
        return;
      case "pubrec":
      case "pubrel":
      case "pubcomp":
        connection.close("qos2");
        return;
      default:
        packet satisfies never;
    }
  }

  #publishReceived(connection: Connection, client: Client, packet: PublishPacket): void {
    if (packet.qos === 2) {
      connection.close("qos2");
      return;
    }
    if (this.#policy.received(client.identity, packet) === "close") {
      connection.close("messageRefused");
      return;
    }
    if (packet.qos === 1) this.#acknowledge(connection, packet.packetId);
  }

  #acknowledge(connection: Connection, packetId: number): void {
    if (this.#faults.hit("acceptThenLosePuback") !== undefined) {
      connection.close("pubackLost");
      return;
    }
    const withheld = this.#faults.hit("withholdPuback");
    if (withheld !== undefined && withheld.ms === undefined) {
      this.#counters.add("pubacksWithheld");
      return;
    }
    // Half of all identifiers away: clients count upwards, and have far fewer in flight.
    const isWrong = this.#faults.hit("wrongPubackId") !== undefined;
    const answered = isWrong ? (packetId >= 32_768 ? packetId - 32_767 : packetId + 32_768) : packetId;
    const copies = this.#faults.hit("duplicatePuback") === undefined ? 1 : 2;
    const delayMs = (withheld?.ms ?? 0) + (this.#faults.hit("delayPuback")?.ms ?? 0);
    const send = () => {
      for (let copy = 0; copy < copies; copy++) connection.send(puback(answered));
      this.#counters.add("pubacksSent", copies);
    };
    if (delayMs === 0) {
      send();
      return;
    }
    if (this.#acknowledgementTimers.size >= maxDelayedAcknowledgements) {
      this.#counters.add("pubacksWithheld");
      connection.close("tooManyDelayedPubacks");
      return;
    }
    const timer = setTimeout(() => {
      this.#acknowledgementTimers.delete(timer);
      send();
    }, delayMs);
    this.#acknowledgementTimers.add(timer);
  }

  /** Unknown filters are granted and have no effect, as at edge hub; QoS 2 is granted as 1. */
  #subscribe(connection: Connection, client: Client, packetId: number, filters: readonly Filter[]): void {
    const { identity, session } = client;
    const kinds: SubscriptionKind[] = [];
    const granted = filters.map(({ filter, qos }) => {
      const grantedQos = qos === 0 ? 0 : 1;
      const kind = subscriptionKind(filter, identity.clientId);
      if (kind !== undefined && kind === this.#faults.peek("subscriptionRefused")?.kind) {
        this.#faults.hit("subscriptionRefused");
        return 0x80;
      }
      if (kind === undefined || session.filters.length >= this.#limits.maxFiltersPerSession) {
        this.#counters.add("subscriptionsIgnored");
      } else {
        session.subscribe(filter, grantedQos);
        kinds.push(kind);
      }
      return grantedQos;
    });
    connection.send(suback(packetId, granted));
    for (const kind of kinds) this.#policy.subscribed(identity, kind);
  }
}
