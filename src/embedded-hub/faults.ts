import { z } from "zod";
import { HubRequestError } from "./errors.ts";

/** Every fault may end by itself: after `next` uses, or `forMs` after it was set. */
const common = {
  next: z.int().positive().optional().describe("the fault strikes so many times, then clears itself"),
  forMs: z.int().positive().optional().describe("the fault clears itself after so many milliseconds"),
};
const plain = z.strictObject(common);

/** The faults that can be switched on, with their parameters. Each is independent of the others. */
export const faultSchemas = {
  /** CONNACK 3: the Azure SDK retries by itself. */
  connackUnavailable: plain,
  /** CONNACK 5 (or 2, 4): the Azure SDK gives up at once. */
  connackRefused: z.strictObject({
    ...common,
    returnCode: z.union([z.literal(2), z.literal(4), z.literal(5)]).default(5),
  }),
  /** The TLS server shows a certificate of an authority nobody trusts. It is not used up by connections. */
  wrongCa: z.strictObject({ forMs: common.forMs }),
  /** SUBACK 0x80 for one kind of messages (MQTT 3.1.1 section 3.9.3). */
  subscriptionRefused: z.strictObject({
    ...common,
    kind: z.enum(["twinAnswers", "desired", "methods", "inputs", "deviceBound"]),
  }),
  /** Sessions are forgotten when the broker stops listening. */
  dropSessions: plain,
  /** A message is accepted and its PUBACK leaves `ms` later, or never. */
  withholdPuback: z.strictObject({ ...common, ms: z.int().positive().optional() }),
  /** Each PUBACK is sent twice. */
  duplicatePuback: plain,
  /** A message is accepted and its PUBACK has a packet identifier that no message of the client has. */
  wrongPubackId: plain,
  /** Each PUBACK leaves `ms` later. */
  delayPuback: z.strictObject({ ...common, ms: z.int().positive() }),
  /** The socket is cut on a telemetry message, which is not accepted. */
  dropOnMessage: z
    .strictObject({
      ...common,
      bodyIncludes: z.string().min(1).optional(),
      every: z.int().positive().optional().describe("every nth telemetry message"),
    })
    .refine((value) => (value.bodyIncludes === undefined) !== (value.every === undefined), {
      error: "give one of bodyIncludes and every",
    }),
  /** The message is accepted and logged; the socket is cut before the PUBACK. */
  acceptThenLosePuback: plain,
  twinGetUnanswered: plain,
  /** Status 200 with an empty body: kills a process that uses the Azure SDK. */
  twinGetEmpty: plain,
  /** Status 200 with a body that is cut off in the middle of its JSON. */
  twinGetMalformed: plain,
  /** An error status, with an empty body as edge hub gives it. */
  twinGetRejected: z.strictObject({ ...common, status: z.int().min(400).max(599).default(429) }),
  /** Each answer to a twin request leaves `ms` later, on the connection that asked. */
  delayTwinAnswer: z.strictObject({ ...common, ms: z.int().positive() }),
  /** The socket is cut in the middle of an answer to a twin request. */
  cutInTwinAnswer: plain,
  reportedRejected: z.strictObject({
    ...common,
    status: z.int().min(400).max(599).default(400),
    body: z.enum(["empty", "json"]).default("empty"),
  }),
  /** Method requests arrive without a body. */
  methodBodyEmpty: plain,
  /** The workload API answers `sign` with an error. */
  signFails: z.strictObject({ ...common, status: z.int().min(400).max(599).default(500) }),
  trustBundleNoContentType: plain,
  /** Twin answers and desired patches need the subscription, as with a hub that lost the session. */
  strictSubscriptions: plain,
} as const;

export type FaultName = keyof typeof faultSchemas;
/** A fault's parameters with their defaults filled in. */
export type FaultParameters<N extends FaultName> = z.output<(typeof faultSchemas)[N]>;
/** A fault's parameters as given. */
export type FaultInput<N extends FaultName> = z.input<(typeof faultSchemas)[N]>;

export type FaultSettings = { readonly [N in FaultName]?: FaultInput<N> };

export function isFaultName(name: string): name is FaultName {
  return Object.hasOwn(faultSchemas, name);
}

interface Active {
  readonly parameters: unknown;
  hits: number;
  remaining: number;
  timer: NodeJS.Timeout | undefined;
}

/** The switchboard of fault modes: what is on now, with which parameters. */
export class Faults {
  readonly #active = new Map<FaultName, Active>();
  /** Called after a fault was switched on or off. */
  onChange: (name: FaultName, state: "on" | "off") => void = () => undefined;

  /** @throws HubRequestError 400 with the reason and the path of each wrong parameter */
  set<N extends FaultName>(name: N, parameters: FaultInput<N> | Record<string, never> = {}): void {
    const parsed = faultSchemas[name].safeParse(parameters);
    if (!parsed.success) {
      const problems = parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
      throw new HubRequestError(400, "ArgumentInvalid", `fault ${name}: ${problems.join("; ")}`);
    }
    this.#end(name);
    const { next, forMs }: { next?: number | undefined; forMs?: number | undefined } = parsed.data;
    const timer = forMs === undefined ? undefined : setTimeout(() => this.clear(name), forMs);
    timer?.unref();
    this.#active.set(name, {
      parameters: parsed.data,
      hits: 0,
      remaining: next ?? Number.POSITIVE_INFINITY,
      timer,
    });
    this.onChange(name, "on");
  }

  clear(name: FaultName): void {
    if (this.#end(name)) this.onChange(name, "off");
  }

  clearAll(): void {
    for (const name of [...this.#active.keys()]) this.clear(name);
  }

  #end(name: FaultName): boolean {
    clearTimeout(this.#active.get(name)?.timer);
    return this.#active.delete(name);
  }

  /** The parameters of a fault that is on, without using it up. */
  peek<N extends FaultName>(name: N): FaultParameters<N> | undefined {
    // The parameters were parsed with the schema of this name when the fault was set.
    return this.#active.get(name)?.parameters as FaultParameters<N> | undefined;
  }

  /** The parameters of a fault that is on; counts one of its `next` uses. */
  hit<N extends FaultName>(name: N): FaultParameters<N> | undefined {
    const active = this.#active.get(name);
    if (active === undefined) return undefined;
    const parameters = this.peek(name);
    active.hits++;
    if (--active.remaining <= 0) this.clear(name);
    return parameters;
  }

  toJSON(): Record<string, unknown> {
    const entries = Array.from(
      this.#active,
      ([name, { parameters, hits }]) => [name, { parameters, hits }] as const,
    );
    return Object.fromEntries(entries);
  }
}
