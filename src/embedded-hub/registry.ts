import { randomBytes, randomUUID } from "node:crypto";
import { HubRequestError } from "./errors.ts";

/** Keys of one identity, base64. */
export interface SymmetricKeys {
  readonly primaryKey: string;
  readonly secondaryKey: string;
}

export interface Identity {
  readonly deviceId: string;
  readonly moduleId: string | undefined;
  /** `device` or `device/module`: the MQTT client identifier, and the key of every table in this hub. */
  readonly clientId: string;
  readonly generationId: string;
  readonly keys: SymmetricKeys;
  readonly status: "enabled" | "disabled";
  readonly statusReason: string | undefined;
  readonly edge: boolean;
  readonly managedBy: string | undefined;
  /** Rises with each change; the etag is its base64 form. */
  readonly revision: number;
}

export interface IdentityChange {
  readonly keys?: Partial<SymmetricKeys> | undefined;
  readonly status?: "enabled" | "disabled" | undefined;
  readonly statusReason?: string | undefined;
  readonly edge?: boolean | undefined;
  readonly managedBy?: string | undefined;
}

/** `If-Match` of a request: undefined when absent, "*" for any. */
export type Match = string | undefined;

const idPattern = /^[A-Za-z0-9\-.+%_#*?!(),=@$':]{1,128}$/;

/** The etag of a revision: eight bytes, big-endian, base64 (`AAAAAAAAAAE=` is the first). */
export function etag(revision: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(revision));
  return bytes.toString("base64");
}

export function clientIdOf(deviceId: string, moduleId?: string): string {
  return moduleId === undefined ? deviceId : `${deviceId}/${moduleId}`;
}

/** @throws HubRequestError 412 when `match` names another revision. */
export function requireMatch(match: Match, revision: number): void {
  if (match === undefined || match === "*") return;
  if (match.replace(/^(?:W\/)?"(.*)"$/, "$1") !== etag(revision)) {
    throw new HubRequestError(412, "PreconditionFailed", "Precondition failed: the etag does not match");
  }
}

function key(given: string | undefined): string {
  if (given === undefined || given === "") return randomBytes(32).toString("base64");
  const bytes = Buffer.from(given, "base64");
  if (bytes.toString("base64") !== given || bytes.length < 16 || bytes.length > 64) {
    throw new HubRequestError(400, "ArgumentInvalid", "a symmetric key is 16 to 64 bytes in base64");
  }
  return given;
}

/** The devices and modules the hub knows, with their keys. */
export class Registry {
  readonly #identities = new Map<string, Identity>();
  readonly #maxIdentities: number;
  /** Called after an identity was created, changed or removed. */
  onChange: (identity: Identity, change: "created" | "updated" | "deleted") => void = () => undefined;

  constructor(maxIdentities: number) {
    this.#maxIdentities = maxIdentities;
  }

  get size(): number {
    return this.#identities.size;
  }

  find(clientId: string): Identity | undefined {
    return this.#identities.get(clientId);
  }

  /** @throws HubRequestError 404 */
  get(deviceId: string, moduleId?: string): Identity {
    const identity = this.#identities.get(clientIdOf(deviceId, moduleId));
    if (identity !== undefined) return identity;
    if (moduleId === undefined || !this.#identities.has(deviceId)) {
      throw new HubRequestError(404, "DeviceNotFound", `Device ${deviceId} not registered`);
    }
    throw new HubRequestError(
      404,
      "ModuleNotFound",
      `Module ${moduleId} on device ${deviceId} not registered`,
    );
  }

  devices(): readonly Identity[] {
    return [...this.#identities.values()].filter((identity) => identity.moduleId === undefined);
  }

  modules(deviceId: string): readonly Identity[] {
    this.get(deviceId);
    return [...this.#identities.values()].filter(
      (identity) => identity.deviceId === deviceId && identity.moduleId !== undefined,
    );
  }

  /** @throws HubRequestError 400, 403 (table full), 404 (device of a module), 409 (exists) */
  create(deviceId: string, moduleId: string | undefined, change: IdentityChange = {}): Identity {
    for (const id of moduleId === undefined ? [deviceId] : [deviceId, moduleId]) {
      if (!idPattern.test(id))
        throw new HubRequestError(400, "ArgumentInvalid", `"${id}" is not a valid identifier`);
    }
    const clientId = clientIdOf(deviceId, moduleId);
    if (moduleId !== undefined) this.get(deviceId);
    if (this.#identities.has(clientId)) {
      const code = moduleId === undefined ? "DeviceAlreadyExists" : "ModuleAlreadyExistsOnDevice";
      throw new HubRequestError(409, code, `${clientId} already exists`);
    }
    if (this.#identities.size >= this.#maxIdentities) {
      throw new HubRequestError(403, "TooManyDevices", `the registry is full (${this.#maxIdentities})`);
    }
    const identity: Identity = {
      deviceId,
      moduleId,
      clientId,
      generationId: randomUUID(),
      keys: { primaryKey: key(change.keys?.primaryKey), secondaryKey: key(change.keys?.secondaryKey) },
      status: change.status ?? "enabled",
      statusReason: change.statusReason,
      edge: change.edge ?? false,
      managedBy: change.managedBy,
      revision: 1,
    };
    this.#identities.set(clientId, identity);
    this.onChange(identity, "created");
    return identity;
  }

  /** @throws HubRequestError 400, 404, 412 */
  update(deviceId: string, moduleId: string | undefined, change: IdentityChange, match: Match): Identity {
    const before = this.get(deviceId, moduleId);
    requireMatch(match, before.revision);
    const identity: Identity = {
      ...before,
      keys: {
        primaryKey: key(change.keys?.primaryKey || before.keys.primaryKey),
        secondaryKey: key(change.keys?.secondaryKey || before.keys.secondaryKey),
      },
      status: change.status ?? before.status,
      statusReason: change.statusReason ?? before.statusReason,
      edge: change.edge ?? before.edge,
      managedBy: change.managedBy ?? before.managedBy,
      revision: before.revision + 1,
    };
    this.#identities.set(before.clientId, identity);
    this.onChange(identity, "updated");
    return identity;
  }

  /** Removes an identity, and with a device its modules. @throws HubRequestError 404, 412 */
  delete(deviceId: string, moduleId: string | undefined, match: Match): void {
    const identity = this.get(deviceId, moduleId);
    requireMatch(match, identity.revision);
    const gone = moduleId === undefined ? [...this.modules(deviceId), identity] : [identity];
    for (const each of gone) {
      this.#identities.delete(each.clientId);
      this.onChange(each, "deleted");
    }
  }
}
