import { rm } from "node:fs/promises";
import type { ServerCertificate } from "./certificates.ts";
import { ControlApi, type ControlledHub, type OutgoingMessage } from "./control-api.ts";
import { HubRequestError } from "./errors.ts";
import { type FaultInput, type FaultName, isFaultName } from "./faults.ts";
import type { HubCore, HubEvents } from "./hub-core.ts";
import type { ReceivedMessage, UpstreamMessage } from "./messages.ts";
import type { MethodCall, MethodResult } from "./methods.ts";
import { MetricsServer } from "./metrics.ts";
import type { EmbeddedHubOptions } from "./options.ts";
import { clientIdOf, type Identity, type IdentityChange } from "./registry.ts";
import { lowestPriority } from "./routes.ts";
import { ServiceApi } from "./service-api.ts";
import type { EmbeddedHub, MessageToSend } from "./surface.ts";
import type { Twin } from "./twins.ts";
import type { WorkloadApi } from "./workload-api.ts";

/** The name given to injected messages as their source (`$.cmid`). */
const injector = "embedded-hub";

function outgoing(message: MessageToSend): OutgoingMessage {
  const { body, properties = {}, systemProperties = {} } = message;
  if (Buffer.isBuffer(body)) return { body, properties, systemProperties };
  if (typeof body === "string") return { body: Buffer.from(body), properties, systemProperties };
  const json = { contentType: "application/json", contentEncoding: "utf-8" };
  return {
    body: Buffer.from(JSON.stringify(body)),
    properties,
    systemProperties: { ...json, ...systemProperties },
  };
}

export interface Parts {
  readonly core: HubCore;
  readonly workload: WorkloadApi;
  readonly folder: string;
  readonly caFile: string;
  readonly certificate: ServerCertificate;
  readonly hostName: string;
  readonly gatewayHostName: string;
  readonly deviceId: string;
  readonly mode: "edgeHub" | "hub";
}

/** The running hub: what its users and the control interface see of the parts. */
export class Hub implements EmbeddedHub, ControlledHub {
  readonly #parts: Parts;
  readonly #core: HubCore;
  readonly #control: ControlApi;
  readonly #metrics: MetricsServer;
  controlPort = 0;
  workloadPort: number | undefined;
  metricsUrl: string | undefined;
  #stopping: Promise<void> | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#core = parts.core;
    const { registry, twins, broker, methods } = parts.core;
    const service = new ServiceApi({
      registry,
      twins,
      isConnected: (clientId) => broker.isConnected(clientId),
      invoke: (clientId, call) => methods.invoke(clientId, call),
    });
    this.#control = new ControlApi(service, this);
    this.#metrics = new MetricsServer(() => parts.core.metricsText());
  }

  async start(options: EmbeddedHubOptions): Promise<void> {
    const { deviceId } = this.#parts;
    const keys = (clientId: string) => ({ keys: { primaryKey: options.keys?.[clientId] ?? "" } });
    this.createDevice(deviceId, { edge: true, ...keys(deviceId) });
    for (const moduleId of options.modules ?? ["gateway"]) {
      this.createModule(deviceId, moduleId, keys(clientIdOf(deviceId, moduleId)));
    }
    for (const other of options.devices ?? []) this.createDevice(other, keys(other));
    for (const [name, parameters] of Object.entries(options.faults ?? {}))
      this.setFault(name as FaultName, parameters);
    await this.#core.broker.listener.start();
    if (options.workloadPort !== undefined) {
      this.workloadPort = await this.#parts.workload.listen(options.workloadPort);
    }
    if (options.metricsPort !== undefined) {
      const host = options.host ?? "127.0.0.1";
      const port = await this.#metrics.listen(options.metricsPort, host);
      this.metricsUrl = `http://${host === "0.0.0.0" ? "127.0.0.1" : host}:${port}/metrics`;
    }
    this.controlPort = await this.#control.listen(options.controlPort ?? 0);
  }

  get port(): number {
    return this.#core.broker.listener.port;
  }
  get webSocketPort(): number | undefined {
    return this.#core.broker.listener.webSocketPort;
  }
  get controlUrl(): string {
    return `http://127.0.0.1:${this.controlPort}`;
  }
  get caPem(): string {
    return this.#parts.certificate.caPem;
  }
  get caFile(): string {
    return this.#parts.caFile;
  }
  get hostName(): string {
    return this.#parts.hostName;
  }
  get deviceId(): string {
    return this.#parts.deviceId;
  }
  get messages(): readonly ReceivedMessage[] {
    return this.#core.accepted.messages;
  }
  get upstreamMessages(): readonly UpstreamMessage[] {
    // Only the upstream part writes to that record, and it writes this type.
    return this.#core.forwarded.messages as readonly UpstreamMessage[];
  }

  async renewCertificate(validMs: number): Promise<void> {
    this.#core.broker.listener.useCertificate(await this.#parts.certificate.renewed(validMs));
  }

  environment(moduleId: string): Record<string, string> {
    const { deviceId, hostName, gatewayHostName, workload } = this.#parts;
    const identity = this.#core.registry.get(deviceId, moduleId);
    return {
      IOTEDGE_WORKLOADURI: workload.uri(moduleId),
      IOTEDGE_DEVICEID: deviceId,
      IOTEDGE_MODULEID: moduleId,
      IOTEDGE_MODULEGENERATIONID: identity.generationId,
      IOTEDGE_IOTHUBHOSTNAME: hostName,
      IOTEDGE_GATEWAYHOSTNAME: `${gatewayHostName}:${this.port}`,
      IOTEDGE_AUTHSCHEME: "sasToken",
      IOTEDGE_APIVERSION: "2018-06-28",
    };
  }

  connectionStringEnvironment(moduleId: string): Record<string, string> {
    return {
      EdgeHubConnectionString: this.connectionString(this.deviceId, moduleId),
      EdgeModuleCACertificateFile: this.#parts.caFile,
    };
  }

  connectionString(
    deviceId: string,
    moduleId?: string,
    options: { readonly gateway?: boolean } = {},
  ): string {
    const { keys } = this.#core.registry.get(deviceId, moduleId);
    const broker = `${this.#parts.gatewayHostName}:${this.port}`;
    const isGateway = options.gateway ?? true;
    return [
      `HostName=${isGateway ? this.hostName : broker}`,
      `DeviceId=${deviceId}`,
      ...(moduleId === undefined ? [] : [`ModuleId=${moduleId}`]),
      `SharedAccessKey=${keys.primaryKey}`,
      ...(isGateway ? [`GatewayHostName=${broker}`] : []),
    ].join(";");
  }

  on<K extends keyof HubEvents>(event: K, listener: (value: HubEvents[K]) => void): void {
    this.#core.on(event, listener);
  }
  off<K extends keyof HubEvents>(event: K, listener: (value: HubEvents[K]) => void): void {
    this.#core.off(event, listener);
  }

  createDevice(deviceId: string, change: IdentityChange = {}): Identity {
    return this.#core.registry.create(deviceId, undefined, change);
  }
  createModule(deviceId: string, moduleId: string, change: IdentityChange = {}): Identity {
    return this.#core.registry.create(deviceId, moduleId, change);
  }
  deleteIdentity(deviceId: string, moduleId?: string): void {
    this.#core.registry.delete(deviceId, moduleId, "*");
  }

  setUpstream(state: "on" | "off"): void {
    this.#core.twins.setUpstream(state);
    this.#core.upstream.set(state);
  }

  setFault(name: string, parameters: unknown = {}): void {
    if (name === "killConnections") {
      this.killConnections();
      return;
    }
    if (!isFaultName(name)) throw new HubRequestError(404, "FaultNotFound", `there is no fault ${name}`);
    // The schema of that fault checks them.
    this.#core.faults.set(name, parameters as FaultInput<typeof name>);
  }
  clearFault(name: string): void {
    if (!isFaultName(name)) throw new HubRequestError(404, "FaultNotFound", `there is no fault ${name}`);
    this.#core.faults.clear(name);
  }
  clearFaults(): void {
    this.#core.faults.clearAll();
  }
  faults(): Record<string, unknown> {
    return this.#core.faults.toJSON();
  }

  killConnections(clientId?: string): number {
    return this.#core.broker.kill("killed", clientId);
  }
  kill(clientId: string | undefined): number {
    return this.killConnections(clientId);
  }

  forgetSessions(): void {
    this.#core.broker.forgetSessions();
  }

  async stopListening(options: { readonly keepSessions?: boolean } = {}): Promise<void> {
    this.#core.broker.kill("brokerStopped");
    await this.#core.broker.listener.stop();
    const isDropped = this.#core.faults.hit("dropSessions") !== undefined;
    if (options.keepSessions === false || isDropped) this.#core.broker.forgetSessions();
  }
  async startListening(): Promise<void> {
    if (this.#stopping !== undefined)
      throw new HubRequestError(503, "ServiceUnavailable", "the hub is stopping");
    await this.#core.broker.listener.start();
  }
  async setListening(state: "on" | "off", sessions: "keep" | "drop"): Promise<boolean> {
    if (state === "on") await this.startListening();
    else await this.stopListening({ keepSessions: sessions === "keep" });
    return this.#core.broker.listener.isListening;
  }

  getTwin(deviceId: string, moduleId?: string): Twin {
    return this.#core.twins.get(this.#core.registry.get(deviceId, moduleId).clientId);
  }
  updateDesired(deviceId: string, moduleId: string | undefined, patch: object): Twin {
    const { clientId } = this.#core.registry.get(deviceId, moduleId);
    return this.#core.twins.change(clientId, { properties: { desired: patch } }, "merge", undefined);
  }
  replaceDesired(deviceId: string, moduleId: string | undefined, desired: object): Twin {
    const { clientId } = this.#core.registry.get(deviceId, moduleId);
    return this.#core.twins.change(clientId, { properties: { desired } }, "replace", undefined);
  }

  async invokeMethod(
    deviceId: string,
    moduleId: string | undefined,
    call: MethodCall,
  ): Promise<MethodResult> {
    return await this.#core.methods.invoke(this.#core.registry.get(deviceId, moduleId).clientId, call);
  }

  sendInput(moduleId: string, input: string, message: MessageToSend): Promise<boolean> {
    return this.deliver({ moduleId, input }, outgoing(message));
  }
  sendToDevice(deviceId: string, message: MessageToSend): Promise<boolean> {
    return this.deliver({ deviceId }, outgoing(message));
  }
  deliver(
    to: { readonly moduleId: string; readonly input: string } | { readonly deviceId: string },
    message: OutgoingMessage,
  ): Promise<boolean> {
    const target =
      "input" in to
        ? { deviceId: this.deviceId, moduleId: to.moduleId }
        : { deviceId: to.deviceId, moduleId: undefined };
    this.#core.registry.get(target.deviceId, target.moduleId);
    const source = { deviceId: this.deviceId, moduleId: injector, output: undefined };
    const input = "input" in to ? to.input : undefined;
    return this.#core.deliver({ ...source, ...message }, target, input, {
      priority: lowestPriority,
      timeToLiveSecs: 0,
    });
  }

  isConnected(deviceId: string, moduleId?: string): boolean {
    return this.#core.broker.isConnected(clientIdOf(deviceId, moduleId));
  }

  page(list: "accepted" | "upstream", after: number, limit: number): readonly ReceivedMessage[] {
    return (list === "accepted" ? this.#core.accepted : this.#core.forwarded).page(after, limit);
  }
  upstreamStatus(): Record<string, unknown> {
    return this.#core.upstream.status();
  }
  counter(name: string): number {
    return this.#core.counters.get(name);
  }

  status(): Record<string, unknown> {
    const { broker, counters, upstream, deliveries, methods, alarms, registry, faults } = this.#core;
    return {
      listening: broker.listener.isListening,
      port: this.port,
      controlPort: this.controlPort,
      hostName: this.hostName,
      deviceId: this.deviceId,
      mode: this.#parts.mode,
      ...broker.status(),
      takeovers: counters.get("takeovers"),
      alarms,
      identities: registry.size,
      upstream: upstream.status(),
      inputs: deliveries.status(),
      methodsPending: methods.pending,
      faults: faults.toJSON(),
      counters: counters.toJSON(),
    };
  }

  async stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    await this.#stopping;
  }
  async #stop(): Promise<void> {
    await this.#control.stop();
    await this.#metrics.stop();
    await this.#core.stop();
    await this.#parts.workload.stop();
    await rm(this.#parts.folder, { recursive: true, force: true });
  }
}
