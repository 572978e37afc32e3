import type { Duplex } from "node:stream";
import {
  type ClientPacket,
  type ConnectPacket,
  connack,
  MqttProtocolError,
  type OutgoingPublish,
  PacketReader,
  publish,
} from "./mqtt-codec.ts";
import type { Identity } from "./registry.ts";
import type { Session } from "./sessions.ts";

export interface ConnectionLimits {
  /** Of a packet behind its fixed header; edge hub closes the connection above 262,144. */
  readonly maxPacketBytes: number;
  /** From the TCP connection to the CONNECT packet. */
  readonly connectTimeoutMs: number;
  /** Also what a keep-alive of 0 means. */
  readonly maxKeepAliveMs: number;
  /** Bytes waiting for a client that does not read; above, the connection is cut. */
  readonly maxUnsentBytes: number;
}

/** How long a client may take to read the last bytes of a connection that is being closed. */
const flushTimeoutMs = 5_000;

/** Why a connection ended; each is a counter. */
export type CloseReason =
  | "brokerStopped"
  | "clientDoesNotRead"
  | "connectRefused"
  | "connectTimeout"
  | "disconnected"
  | "hubStopped"
  | "identityDeleted"
  | "identityDisabled"
  | "keepAliveExpired"
  | "killed"
  | "messageRefused"
  | "protocol"
  | "pubackLost"
  | "qos2"
  | "socketClosed"
  | "socketError"
  | "takenOver"
  | "tokenExpired"
  | "tooManyDelayedPubacks";

/** What the broker does with a connection's packets. */
export interface ConnectionOwner {
  connectReceived(connection: Connection, packet: ConnectPacket): void;
  packetReceived(connection: Connection, packet: Exclude<ClientPacket, ConnectPacket>): void;
  closed(connection: Connection, reason: CloseReason, detail: string | undefined): void;
}

/** An authenticated client on a connection. */
export interface Client {
  readonly identity: Identity;
  readonly session: Session;
  readonly tokenExpiresAtMs: number;
}

/** One MQTT connection: bytes to packets, the two time limits of the protocol, and one way to end. */
export class Connection {
  readonly since = Date.now();
  readonly #socket: Duplex;
  readonly #owner: ConnectionOwner;
  readonly #limits: ConnectionLimits;
  readonly #reader: PacketReader;
  #deadline: NodeJS.Timeout;
  #connect: ConnectPacket | undefined;
  #client: Client | undefined;
  #closed = false;
  /** True after DISCONNECT: the will is then not published (MQTT 3.14.4-3). */
  endedByClient = false;

  constructor(socket: Duplex, owner: ConnectionOwner, limits: ConnectionLimits) {
    this.#socket = socket;
    this.#owner = owner;
    this.#limits = limits;
    this.#reader = new PacketReader(limits.maxPacketBytes);
    this.#deadline = setTimeout(() => this.close("connectTimeout"), limits.connectTimeoutMs);
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", (error) => this.close("socketError", { detail: error.message }));
    socket.on("close", () => this.close("socketClosed"));
  }

  get client(): Client | undefined {
    return this.#client;
  }

  get will(): ConnectPacket["will"] {
    return this.#connect?.will;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** The CONNECT was accepted: answers it and starts the keep-alive. */
  accept(client: Client, sessionPresent: boolean): void {
    this.#client = client;
    this.send(connack(0, sessionPresent));
    this.#armKeepAlive();
  }

  refuse(returnCode: 1 | 2 | 3 | 4 | 5, detail: string): void {
    this.send(connack(returnCode, false));
    this.close("connectRefused", { detail, how: "flush" });
  }

  send(bytes: Buffer): void {
    if (this.#closed) return;
    this.#socket.write(bytes);
    if (this.#socket.writableLength > this.#limits.maxUnsentBytes) this.close("clientDoesNotRead");
  }

  publish(message: OutgoingPublish): void {
    this.send(publish(message));
  }

  /** Sends the first half of a packet and ends the connection. */
  cutInside(message: OutgoingPublish): void {
    const bytes = publish(message);
    this.send(bytes.subarray(0, bytes.length >> 1));
    this.close("killed", { how: "flush" });
  }

  /** Ends the connection; `flush` lets what was written leave first. Safe twice. */
  close(
    reason: CloseReason,
    options: { readonly detail?: string; readonly how?: "cut" | "flush" } = {},
  ): void {
    if (this.#closed) return;
    const { detail, how = "cut" } = options;
    this.#closed = true;
    clearTimeout(this.#deadline);
    if (how === "cut") this.#socket.destroy();
    else {
      const timer = setTimeout(() => this.#socket.destroy(), flushTimeoutMs);
      this.#socket.once("close", () => clearTimeout(timer));
      this.#socket.end(() => this.#socket.destroy());
    }
    this.#owner.closed(this, reason, detail);
  }

  #read(chunk: Buffer): void {
    if (this.#closed) return;
    try {
      for (const packet of this.#reader.read(chunk)) {
        if (this.#closed) return;
        this.#dispatch(packet);
      }
    } catch (error) {
      if (!(error instanceof MqttProtocolError)) throw error;
      this.close("protocol", { detail: error.message });
    }
  }

  #dispatch(packet: ClientPacket): void {
    if (packet.type === "connect") {
      if (this.#connect !== undefined) throw new MqttProtocolError("malformed", "a second CONNECT (3.1.0-2)");
      this.#connect = packet;
      clearTimeout(this.#deadline);
      this.#owner.connectReceived(this, packet);
      return;
    }
    if (this.#client === undefined) {
      throw new MqttProtocolError("malformed", `${packet.type} before CONNECT (3.1.0-1)`);
    }
    this.#deadline.refresh();
    this.#owner.packetReceived(this, packet);
  }

  #armKeepAlive(): void {
    if (this.#closed) return;
    const asked = (this.#connect?.keepAliveSeconds ?? 0) * 1500;
    const keepAliveMs =
      asked === 0 ? this.#limits.maxKeepAliveMs : Math.min(asked, this.#limits.maxKeepAliveMs);
    this.#deadline = setTimeout(() => this.close("keepAliveExpired"), keepAliveMs);
  }
}
