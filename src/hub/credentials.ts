import { createHmac } from "node:crypto";
import { ConfigError } from "../core/errors.ts";
import { readPlainFile } from "../core/plain-file.ts";
import type { Identity } from "./dialect.ts";
import { WorkloadApi } from "./workload-api.ts";

/** Who the gateway is, where it connects, whom it trusts, and how it signs. */
export interface Credentials extends Identity {
  /** `host` or `host:port` to dial. */
  readonly dial: string;
  /** PEM; undefined: the authorities that Node trusts. */
  readonly ca: string | undefined;
  /** Base64 of HMAC-SHA256 with the identity's key. */
  readonly sign: (text: string) => Promise<string>;
}

export interface CredentialsSource {
  /** Undefined: everything from the environment of an IoT Edge module. */
  readonly connectionString: (() => string) | undefined;
  readonly caFile: string | undefined;
  readonly environment: NodeJS.ProcessEnv;
}

/**
 * Read anew for every connection: a key that was rotated is found at the next one.
 * In the environment a connection string goes before the workload API, as with the Azure SDK.
 * @throws ConfigError when something is missing; whatever the file or the workload API brings
 */
export async function readCredentials(source: CredentialsSource, signal: AbortSignal): Promise<Credentials> {
  const { connectionString, caFile, environment } = source;
  if (connectionString) return ofConnectionString(connectionString(), caFile);
  const given = environment.EdgeHubConnectionString ?? environment.IotHubConnectionString;
  if (given) return ofConnectionString(given, environment.EdgeModuleCACertificateFile);
  return ofWorkloadApi(environment, signal);
}

async function ofConnectionString(text: string, caFile: string | undefined): Promise<Credentials> {
  const parts = new Map<string, string>();
  for (const part of text.split(";")) {
    const at = part.indexOf("=");
    if (at > 0) parts.set(part.slice(0, at).trim(), part.slice(at + 1).trim());
  }
  const required = (name: string) => {
    const value = parts.get(name);
    if (!value) throw misconfigured(`the connection string has no ${name}`);
    return value;
  };
  const key = Buffer.from(required("SharedAccessKey"), "base64");
  const hubHost = required("HostName");
  return {
    hubHost,
    deviceId: required("DeviceId"),
    moduleId: parts.get("ModuleId"),
    dial: parts.get("GatewayHostName") ?? hubHost,
    ca: caFile === undefined ? undefined : (await readPlainFile(caFile)).toString("utf8"),
    sign: async (signed) => createHmac("sha256", key).update(signed).digest("base64"),
  };
}

async function ofWorkloadApi(environment: NodeJS.ProcessEnv, signal: AbortSignal): Promise<Credentials> {
  const required = (name: string) => {
    const value = environment[name];
    if (!value) throw misconfigured(`the environment variable ${name} is not set`);
    return value;
  };
  const scheme = required("IOTEDGE_AUTHSCHEME");
  if (scheme.toLowerCase() !== "sastoken")
    throw misconfigured(`IOTEDGE_AUTHSCHEME ${scheme} is not sasToken`);
  const hubHost = required("IOTEDGE_IOTHUBHOSTNAME");
  const moduleId = required("IOTEDGE_MODULEID");
  const api = new WorkloadApi(
    required("IOTEDGE_WORKLOADURI"),
    moduleId,
    required("IOTEDGE_MODULEGENERATIONID"),
  );
  return {
    hubHost,
    deviceId: required("IOTEDGE_DEVICEID"),
    moduleId,
    dial: environment.IOTEDGE_GATEWAYHOSTNAME ?? hubHost,
    ca: await api.trustBundle(signal),
    sign: (text) => api.sign(text, signal),
  };
}

function misconfigured(message: string): ConfigError {
  const hint = "take it from the portal, or let IoT Edge set it";
  return new ConfigError("CONFIG_INVALID", [{ path: "hub", message, hint }]);
}
