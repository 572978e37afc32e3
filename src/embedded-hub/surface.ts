import type { FaultInput, FaultName } from "./faults.ts";
import type { HubEvents } from "./hub-core.ts";
import type { ReceivedMessage, UpstreamMessage } from "./messages.ts";
import type { MethodCall, MethodResult } from "./methods.ts";
import type { Identity, IdentityChange } from "./registry.ts";
import type { Twin } from "./twins.ts";

/** A message for `sendInput` and `sendToDevice`: bytes, text, or a value that is sent as JSON. */
export interface MessageToSend {
  readonly body: Buffer | string | object;
  readonly properties?: Readonly<Record<string, string>>;
  /** messageId, correlationId, contentType … */
  readonly systemProperties?: Readonly<Record<string, string>>;
}

/** A running hub: broker, workload API, twins, methods, routes and faults, all on this machine. */
export interface EmbeddedHub {
  /** Of the TLS MQTT broker; stays the same when it stops and starts. */
  readonly port: number;
  /** MQTT over WebSocket, if asked for. */
  readonly webSocketPort: number | undefined;
  readonly controlPort: number;
  /** `http://127.0.0.1:{controlPort}` */
  readonly controlUrl: string;
  readonly workloadPort: number | undefined;
  /** `http://…:{port}/metrics`; undefined unless `metricsPort` was given. */
  readonly metricsUrl: string | undefined;
  readonly caPem: string;
  /** File with the CA's certificate, in the hub's private folder. */
  readonly caFile: string;
  readonly hostName: string;
  readonly deviceId: string;
  /** The newest accepted messages, bounded. */
  readonly messages: readonly ReceivedMessage[];
  /** The newest messages that went upstream, bounded. */
  readonly upstreamMessages: readonly UpstreamMessage[];

  /** The variables with which `ModuleClient.fromEnvironment` connects through the workload API. */
  environment(moduleId: string): Record<string, string>;
  /** The other way: a connection string and a CA file. */
  connectionStringEnvironment(moduleId: string): Record<string, string>;
  /** `gateway: false` names this hub as host itself instead of as gateway of the hub. */
  connectionString(deviceId: string, moduleId?: string, options?: { readonly gateway?: boolean }): string;

  on<K extends keyof HubEvents>(event: K, listener: (value: HubEvents[K]) => void): void;
  off<K extends keyof HubEvents>(event: K, listener: (value: HubEvents[K]) => void): void;

  createDevice(deviceId: string, change?: IdentityChange): Identity;
  createModule(deviceId: string, moduleId: string, change?: IdentityChange): Identity;
  deleteIdentity(deviceId: string, moduleId?: string): void;

  setUpstream(state: "on" | "off"): void;
  /** @throws HubRequestError 400 on wrong parameters */
  setFault<N extends FaultName>(name: N, parameters?: FaultInput<N>): void;
  setFault(name: "killConnections"): void;
  clearFault(name: FaultName): void;
  clearFaults(): void;
  /** From the next connection on shows a certificate of its own authority that is valid for so long; connections stay. */
  renewCertificate(validMs: number): Promise<void>;
  /** Cuts all connections, or those of one client; returns how many. */
  killConnections(clientId?: string): number;
  /** Connections stay; the next one of each client finds no session, as after a hub that lost its state. */
  forgetSessions(): void;
  stopListening(options?: { readonly keepSessions?: boolean }): Promise<void>;
  startListening(): Promise<void>;

  /** @throws HubRequestError 404 */
  getTwin(deviceId: string, moduleId?: string): Twin;
  /** Merges into the desired properties. @throws HubRequestError 400, 404 */
  updateDesired(deviceId: string, moduleId: string | undefined, patch: object): Twin;
  /** Puts other desired properties in their place. @throws HubRequestError 400, 404 */
  replaceDesired(deviceId: string, moduleId: string | undefined, desired: object): Twin;
  /** @throws HubRequestError 404 not connected, 504 no answer in time, 400, 502 */
  invokeMethod(deviceId: string, moduleId: string | undefined, call: MethodCall): Promise<MethodResult>;
  /**
   * Settles true with the module's PUBACK, false when the message is discarded; never rejects.
   * @throws HubRequestError 404, at once, when there is no such module
   */
  sendInput(moduleId: string, input: string, message: MessageToSend): Promise<boolean>;
  /** Cloud to device; settles and throws like `sendInput`. */
  sendToDevice(deviceId: string, message: MessageToSend): Promise<boolean>;

  isConnected(deviceId: string, moduleId?: string): boolean;
  /** What `GET /hub/status` shows. */
  status(): Record<string, unknown>;
  counter(name: string): number;
  /** Cuts everything off and removes the private folder. Safe twice. */
  stop(): Promise<void>;
}
