import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServerCertificate } from "./certificates.ts";
import { Hub } from "./hub.ts";
import { HubCore } from "./hub-core.ts";
import { defaultLimits, type EmbeddedHubOptions } from "./options.ts";
import type { EmbeddedHub } from "./surface.ts";
import { WorkloadApi } from "./workload-api.ts";

export { HubRequestError } from "./errors.ts";
export type { FaultInput, FaultName, FaultSettings } from "./faults.ts";
export type { ConnectionChange, HubEvents } from "./hub-core.ts";
export type { ReceivedMessage, UpstreamMessage } from "./messages.ts";
export type { MethodCall, MethodResult } from "./methods.ts";
export type { EmbeddedHubOptions, HubLimits } from "./options.ts";
export type { RouteDefinition } from "./routes.ts";
export type { EmbeddedHub, MessageToSend } from "./surface.ts";
export type { TakeoverAlarm } from "./takeovers.ts";
export type { Twin } from "./twins.ts";

/** Keeps workload sockets, twins and connections in step with the registry. */
function followRegistry(core: HubCore, workload: WorkloadApi, deviceId: string): void {
  core.registry.onChange = (identity, change) => {
    const { clientId } = identity;
    const isOwnModule = identity.deviceId === deviceId && identity.moduleId !== undefined;
    if (change === "created") {
      core.twins.create(clientId);
      if (isOwnModule) {
        workload.open(identity.moduleId ?? "").catch(() => core.counters.add("workloadSocketsFailed"));
      }
      return;
    }
    if (change === "updated" && identity.status === "enabled") return;
    core.broker.kill(change === "deleted" ? "identityDeleted" : "identityDisabled", clientId);
    if (change === "updated") return;
    core.broker.forgetSession(clientId);
    core.deliveries.remove(clientId);
    core.twins.delete(clientId);
    if (isOwnModule) workload.close(identity.moduleId ?? "");
  };
}

/** Starts a hub. Resolves when all its ports accept; on failure nothing is left behind. */
export async function startEmbeddedHub(options: EmbeddedHubOptions = {}): Promise<EmbeddedHub> {
  const hostName = options.hostName ?? "headgate.azure-devices.local";
  const gatewayHostName = options.gatewayHostName ?? "localhost";
  const deviceId = options.deviceId ?? "edge";
  const hostNames = [...new Set([gatewayHostName, "localhost"])];
  const [certificate, untrusted] = await Promise.all([
    createServerCertificate(hostNames, ["127.0.0.1"]),
    createServerCertificate(hostNames, ["127.0.0.1"]),
  ]);
  // A unix socket's path has at most 107 bytes.
  const systemFolder = tmpdir().length > 80 ? "/tmp" : tmpdir();
  const folder = await mkdtemp(join(options.temporaryFolder ?? systemFolder, "hub-"));
  let hub: Hub | undefined;
  try {
    const caFile = join(folder, "ca.pem");
    await writeFile(caFile, certificate.caPem);
    const core = new HubCore({
      given: options,
      deviceId,
      hostName,
      limits: { ...defaultLimits, ...options.limits },
      certificate,
      hostNames: () => {
        const port = core.broker.listener.port;
        return [hostName, ...hostNames, "127.0.0.1"].flatMap((name) => [
          name.toLowerCase(),
          `${name.toLowerCase()}:${port}`,
        ]);
      },
    });
    const { registry, faults, counters, broker } = core;
    const workload = new WorkloadApi({
      registry,
      faults,
      counters,
      deviceId,
      caPem: certificate.caPem,
      folder,
    });
    followRegistry(core, workload, deviceId);
    faults.onChange = (name, state) => {
      if (name === "wrongCa") broker.listener.useCertificate(state === "on" ? untrusted : certificate);
    };
    const mode = options.mode ?? "edgeHub";
    hub = new Hub({ core, workload, folder, caFile, certificate, hostName, gatewayHostName, deviceId, mode });
    await hub.start(options);
    return hub;
  } catch (error) {
    await hub?.stop();
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}
