import { z } from "zod";
import { HubRequestError } from "./errors.ts";
import type { JsonAnswer } from "./http-json.ts";
import type { MethodCall, MethodResult } from "./methods.ts";
import { etag, type Identity, type IdentityChange, type Match, type Registry } from "./registry.ts";
import type { Twins } from "./twins.ts";

const symmetricKey = z.object({ primaryKey: z.string().nullish(), secondaryKey: z.string().nullish() });
const identityBody = z.object({
  deviceId: z.string().optional(),
  moduleId: z.string().optional(),
  managedBy: z.string().nullish(),
  status: z.enum(["enabled", "disabled"]).nullish(),
  statusReason: z.string().nullish(),
  authentication: z
    .object({ type: z.literal("sas").optional(), symmetricKey: symmetricKey.nullish() })
    .nullish(),
  capabilities: z.object({ iotEdge: z.boolean().optional() }).nullish(),
});
const methodBody = z.object({
  methodName: z.string(),
  payload: z.unknown().optional(),
  responseTimeoutInSeconds: z.number().optional(),
  connectTimeoutInSeconds: z.number().optional(),
});

const maxListed = 1_000;

/** @throws HubRequestError 400 with each problem and its path */
export function checked<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${issue.path.join(".") || "body"}: ${issue.message}`);
  throw new HubRequestError(400, "ArgumentInvalid", problems.join("; "));
}

/** The parts of the IoT Hub service REST API that tests and tools need. No authentication: loopback only. */
export class ServiceApi {
  readonly #registry: Registry;
  readonly #twins: Twins;
  readonly #isConnected: (clientId: string) => boolean;
  readonly #invoke: (clientId: string, call: MethodCall) => Promise<MethodResult>;

  constructor(options: {
    readonly registry: Registry;
    readonly twins: Twins;
    readonly isConnected: (clientId: string) => boolean;
    readonly invoke: (clientId: string, call: MethodCall) => Promise<MethodResult>;
  }) {
    this.#registry = options.registry;
    this.#twins = options.twins;
    this.#isConnected = options.isConnected;
    this.#invoke = options.invoke;
  }

  getTwin(deviceId: string, moduleId: string | undefined): JsonAnswer {
    const identity = this.#registry.get(deviceId, moduleId);
    return { status: 200, body: this.#twins.serviceView(identity, this.#isConnected(identity.clientId)) };
  }

  changeTwin(
    deviceId: string,
    moduleId: string | undefined,
    body: unknown,
    how: "merge" | "replace",
    match: Match,
  ): JsonAnswer {
    const identity = this.#registry.get(deviceId, moduleId);
    this.#twins.change(identity.clientId, body, how, match);
    return this.getTwin(deviceId, moduleId);
  }

  async invokeMethod(deviceId: string, moduleId: string | undefined, body: unknown): Promise<JsonAnswer> {
    const identity = this.#registry.get(deviceId, moduleId);
    const call = checked(methodBody, body);
    const { status, payload } = await this.#invoke(identity.clientId, {
      methodName: call.methodName,
      payload: call.payload,
      ...(call.responseTimeoutInSeconds === undefined
        ? {}
        : { responseTimeoutInSeconds: call.responseTimeoutInSeconds }),
      ...(call.connectTimeoutInSeconds === undefined
        ? {}
        : { connectTimeoutInSeconds: call.connectTimeoutInSeconds }),
    });
    return { status: 200, body: { status, payload } };
  }

  listDevices(): JsonAnswer {
    const devices = this.#registry.devices().slice(0, maxListed);
    return { status: 200, body: devices.map((identity) => this.#describe(identity)) };
  }

  listModules(deviceId: string): JsonAnswer {
    return {
      status: 200,
      body: this.#registry.modules(deviceId).map((identity) => this.#describe(identity)),
    };
  }

  getIdentity(deviceId: string, moduleId: string | undefined): JsonAnswer {
    return this.#identityAnswer(200, this.#registry.get(deviceId, moduleId));
  }

  /** Without If-Match creates (409 if it exists), with it updates (404 if it does not, 412 on another etag). */
  putIdentity(deviceId: string, moduleId: string | undefined, body: unknown, match: Match): JsonAnswer {
    const given = checked(identityBody, body);
    if ((given.deviceId ?? deviceId) !== deviceId || (given.moduleId ?? moduleId) !== moduleId) {
      throw new HubRequestError(400, "ArgumentInvalid", "the body names another identity than the path");
    }
    const keys = given.authentication?.symmetricKey;
    const change: IdentityChange = {
      keys: { primaryKey: keys?.primaryKey ?? "", secondaryKey: keys?.secondaryKey ?? "" },
      status: given.status ?? undefined,
      statusReason: given.statusReason ?? undefined,
      edge: given.capabilities?.iotEdge,
      managedBy: given.managedBy ?? undefined,
    };
    if (match === undefined) {
      const created = this.#registry.create(deviceId, moduleId, change);
      return this.#identityAnswer(moduleId === undefined ? 200 : 201, created);
    }
    return this.#identityAnswer(200, this.#registry.update(deviceId, moduleId, change, match));
  }

  deleteIdentity(deviceId: string, moduleId: string | undefined, match: Match): JsonAnswer {
    this.#registry.delete(deviceId, moduleId, match);
    return { status: 204 };
  }

  #identityAnswer(status: number, identity: Identity): JsonAnswer {
    return { status, body: this.#describe(identity), headers: { etag: `"${etag(identity.revision)}"` } };
  }

  #describe(identity: Identity): Record<string, unknown> {
    const common = {
      deviceId: identity.deviceId,
      generationId: identity.generationId,
      etag: etag(identity.revision),
      connectionState: this.#isConnected(identity.clientId) ? "Connected" : "Disconnected",
      cloudToDeviceMessageCount: 0,
      authentication: {
        symmetricKey: identity.keys,
        x509Thumbprint: { primaryThumbprint: null, secondaryThumbprint: null },
        type: "sas",
      },
    };
    if (identity.moduleId !== undefined) {
      return { moduleId: identity.moduleId, managedBy: identity.managedBy ?? null, ...common };
    }
    return {
      ...common,
      status: identity.status,
      statusReason: identity.statusReason ?? null,
      capabilities: { iotEdge: identity.edge },
    };
  }
}
