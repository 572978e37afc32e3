import { HubRequestError } from "./errors.ts";
import { etag, type Identity, type Match, requireMatch } from "./registry.ts";
import {
  diff,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  mergePatch,
  patchProblem,
  twinLimits,
  twinSize,
} from "./twin-rules.ts";

/** A twin as a device sees it. */
export interface DeviceTwin {
  readonly desired: JsonObject;
  readonly reported: JsonObject;
}

/** A twin as the hub keeps it; both halves carry their `$version`. */
export interface Twin extends DeviceTwin {
  readonly tags: JsonObject;
  readonly etag: string;
  readonly version: number;
}

interface State {
  desired: JsonObject;
  desiredVersion: number;
  reported: JsonObject;
  reportedVersion: number;
  tags: JsonObject;
  /** Of tags and desired properties; the etag. */
  revision: number;
  /** Of the whole document. */
  version: number;
  updatedAt: string;
  /** What the device was shown before the way to the cloud was cut and the desired properties changed. */
  shown: { readonly desired: JsonObject; readonly version: number } | undefined;
}

export type ReportedVerdict =
  | { readonly ok: true; readonly version: number }
  | { readonly ok: false; readonly message: string };

export interface DesiredChange {
  readonly clientId: string;
  readonly patch: JsonObject;
  readonly version: number;
}

function invalid(message: string): HubRequestError {
  return new HubRequestError(400, "ArgumentInvalid", message);
}

/** The twins of all identities, created with them. */
export class Twins {
  readonly #mode: "edgeHub" | "hub";
  readonly #states = new Map<string, State>();
  #upstream: "on" | "off" = "on";
  /** Called with each patch of desired properties the device has to be told. */
  onDesired: (change: DesiredChange) => void = () => undefined;
  /** Called when the cloud refuses what the edge hub had acknowledged already. */
  onRefusedByHub: (clientId: string, problem: string) => void = () => undefined;

  constructor(mode: "edgeHub" | "hub") {
    this.#mode = mode;
  }

  create(clientId: string): void {
    this.#states.set(clientId, {
      desired: {},
      desiredVersion: 1,
      reported: {},
      reportedVersion: 1,
      tags: {},
      revision: 1,
      version: 2,
      updatedAt: new Date().toISOString(),
      shown: undefined,
    });
  }

  delete(clientId: string): void {
    this.#states.delete(clientId);
  }

  /** @throws HubRequestError 404 */
  get(clientId: string): Twin {
    const state = this.#state(clientId);
    return {
      desired: { ...state.desired, $version: state.desiredVersion },
      reported: { ...state.reported, $version: state.reportedVersion },
      tags: state.tags,
      etag: etag(state.revision),
      version: state.version,
    };
  }

  /** While upstream is off a device is shown the desired properties of before. @throws HubRequestError 404 */
  deviceView(clientId: string): DeviceTwin {
    const state = this.#state(clientId);
    const { desired, version } = state.shown ?? { desired: state.desired, version: state.desiredVersion };
    return {
      desired: { ...desired, $version: version },
      reported: { ...state.reported, $version: state.reportedVersion },
    };
  }

  /** @throws HubRequestError 404 */
  report(clientId: string, patch: unknown): ReportedVerdict {
    const state = this.#state(clientId);
    const problem = patchProblem(patch, this.#mode);
    if (problem !== undefined || !isJsonObject(patch))
      return { ok: false, message: problem ?? "not an object" };
    const merged = mergePatch(state.reported, patch);
    if (twinSize(merged) > twinLimits.sectionBytes) {
      const message = "the reported properties would exceed 32 KB";
      if (this.#mode === "hub") return { ok: false, message };
      // Edge hub has looked at the patch alone and acknowledges it; the hub then refuses the document.
      this.onRefusedByHub(clientId, message);
      return { ok: true, version: state.reportedVersion };
    }
    state.reported = merged;
    state.reportedVersion++;
    this.#touch(state);
    return { ok: true, version: state.reportedVersion };
  }

  /** A change from the service side: `merge` for PATCH, `replace` for PUT. @throws HubRequestError 400, 404, 412 */
  change(clientId: string, body: unknown, how: "merge" | "replace", match: Match): Twin {
    const state = this.#state(clientId);
    requireMatch(match, state.revision);
    const { desired, tags } = readServiceBody(body);
    const nextDesired =
      desired === undefined ? undefined : apply(state.desired, desired, how, twinLimits.sectionBytes);
    const nextTags = tags === undefined ? undefined : apply(state.tags, tags, how, twinLimits.tagsBytes);
    if (nextTags !== undefined) state.tags = nextTags;
    if (nextDesired !== undefined && desired !== undefined) {
      const before = state.desired;
      if (this.#upstream === "off") state.shown ??= { desired: before, version: state.desiredVersion };
      state.desired = nextDesired;
      state.desiredVersion++;
      if (state.shown === undefined) {
        this.#announce(clientId, state, how === "merge" ? desired : diff(before, nextDesired));
      }
    }
    state.revision++;
    this.#touch(state);
    return this.get(clientId);
  }

  /** Edge hub fetches the twins when the cloud is back, and tells the devices the difference. */
  setUpstream(upstream: "on" | "off"): void {
    this.#upstream = upstream;
    if (upstream === "off") return;
    for (const [clientId, state] of this.#states) {
      if (state.shown === undefined) continue;
      const before = state.shown.desired;
      state.shown = undefined;
      this.#announce(clientId, state, diff(before, state.desired));
    }
  }

  /** The twin as the service API shows it. @throws HubRequestError 404 */
  serviceView(identity: Identity, connected: boolean): Record<string, unknown> {
    const state = this.#state(identity.clientId);
    const twin = this.get(identity.clientId);
    const metadata = { $lastUpdated: state.updatedAt };
    return {
      deviceId: identity.deviceId,
      ...(identity.moduleId === undefined ? {} : { moduleId: identity.moduleId }),
      etag: twin.etag,
      deviceEtag: etag(identity.revision),
      status: identity.status,
      ...(identity.statusReason === undefined ? {} : { statusReason: identity.statusReason }),
      connectionState: connected ? "Connected" : "Disconnected",
      lastActivityTime: state.updatedAt,
      cloudToDeviceMessageCount: 0,
      authenticationType: "sas",
      x509Thumbprint: { primaryThumbprint: null, secondaryThumbprint: null },
      version: twin.version,
      tags: twin.tags,
      properties: {
        desired: { ...twin.desired, $metadata: metadata },
        reported: { ...twin.reported, $metadata: metadata },
      },
      ...(identity.moduleId === undefined ? { capabilities: { iotEdge: identity.edge } } : {}),
    };
  }

  #announce(clientId: string, state: State, patch: JsonObject): void {
    this.onDesired({ clientId, patch, version: state.desiredVersion });
  }

  #touch(state: State): void {
    state.version++;
    state.updatedAt = new Date().toISOString();
  }

  #state(clientId: string): State {
    const state = this.#states.get(clientId);
    if (state === undefined) throw new HubRequestError(404, "DeviceNotFound", `${clientId} has no twin`);
    return state;
  }
}

/** What the service writes to a twin: tags and desired properties. What it read along with them is ignored. */
function readServiceBody(body: unknown): { desired: JsonObject | undefined; tags: JsonObject | undefined } {
  if (!isJsonObject(body)) throw invalid("a twin is a JSON object");
  const properties = body.properties;
  if (properties !== undefined && !isJsonObject(properties))
    throw invalid("properties: a JSON object is expected");
  return {
    desired: section(properties?.desired, "properties.desired"),
    tags: section(body.tags, "tags"),
  };
}

function section(value: JsonValue | undefined, path: string): JsonObject | undefined {
  if (value === undefined) return undefined;
  if (!isJsonObject(value)) throw invalid(`${path}: a JSON object is expected`);
  const { $version: _version, $metadata: _metadata, ...own } = value;
  return own;
}

function apply(
  before: JsonObject,
  change: JsonObject,
  how: "merge" | "replace",
  maxBytes: number,
): JsonObject {
  const problem = patchProblem(change, "hub");
  if (problem !== undefined) throw invalid(problem);
  const after = mergePatch(how === "merge" ? before : {}, change);
  if (twinSize(after) > maxBytes) throw invalid(`the section would exceed ${maxBytes / 1024} KB`);
  return after;
}
