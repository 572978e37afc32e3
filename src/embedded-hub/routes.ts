import { type ConditionInput, ConditionParser, type Expression } from "./conditions.ts";
import { type HubMessage, jsonBody } from "./messages.ts";
import { RouteSyntaxError, TokenReader } from "./route-tokens.ts";

/** A route as a deployment manifest writes it. */
export type RouteDefinition =
  | string
  | { readonly route: string; readonly priority?: number; readonly timeToLiveSecs?: number };

export type Endpoint =
  | { readonly kind: "upstream" }
  | { readonly kind: "input"; readonly moduleId: string; readonly input: string };

/** 0 is the highest; a route without one comes after all others. */
export const lowestPriority = 2_000_000_000;

export interface Route {
  readonly name: string;
  /** In lower case, with a slash at its end. */
  readonly source: string;
  readonly condition: Expression;
  readonly endpoint: Endpoint;
  readonly priority: number;
  /** 0: that of the hub. Negative: never expires. */
  readonly timeToLiveSecs: number;
}

/** What is routed: a telemetry message, or the reported patch of a twin. */
export interface Routable {
  readonly kind: "telemetry" | "twinChange";
  readonly message: HubMessage;
}

export interface Match {
  readonly endpoint: Endpoint;
  readonly priority: number;
  readonly timeToLiveSecs: number;
}

/** The sources of the grammar. Anything else is a spelling mistake that would never match. */
const sourcePattern =
  /^\/(\*|twinChangeNotifications(\/\*)?|messages\/(\*|modules\/(\*|[^/*]+(\/(\*|outputs\/(\*|[^/*]+)))?)))$/i;
const brokeredPattern = /^\/modules\/([^/]+)\/inputs\/([^/]+)$/;

function parseEndpoint(tokens: TokenReader): Endpoint {
  const token = tokens.next();
  if (token.kind === "system" && token.text.toLowerCase() === "$upstream") return { kind: "upstream" };
  if (token.kind !== "word" || token.text.toLowerCase() !== "brokeredendpoint") {
    throw new RouteSyntaxError('$upstream or BrokeredEndpoint("…") was expected', token.at);
  }
  tokens.expectOperator("(");
  const address = tokens.next();
  const match = brokeredPattern.exec(String(address.value ?? ""));
  if (address.kind !== "string" || match?.[1] === undefined || match[2] === undefined) {
    throw new RouteSyntaxError('a brokered endpoint is "/modules/{module}/inputs/{input}"', address.at);
  }
  tokens.expectOperator(")");
  return { kind: "input", moduleId: match[1], input: match[2] };
}

/** Reads `FROM <source> [WHERE <condition>] INTO <sink>`. @throws RouteSyntaxError */
export function parseRoute(name: string, definition: RouteDefinition): Route {
  const text = typeof definition === "string" ? definition : definition.route;
  const { priority = lowestPriority, timeToLiveSecs = 0 } = typeof definition === "string" ? {} : definition;
  if (priority !== lowestPriority && !(Number.isInteger(priority) && priority >= 0 && priority <= 9)) {
    throw new RouteSyntaxError(`route ${name}: the priority is 0 to 9`, 0);
  }
  const tokens = new TokenReader(text);
  tokens.expectWord("FROM");
  const source = tokens.next();
  if (source.kind !== "path" || !sourcePattern.test(source.text)) {
    throw new RouteSyntaxError(`"${source.text}" is not a message source`, source.at);
  }
  const condition = tokens.takeWord("WHERE") ? new ConditionParser(tokens).expression() : () => true;
  tokens.expectWord("INTO");
  const endpoint = parseEndpoint(tokens);
  tokens.expectEnd();
  const prefix = source.text.replace(/\*$/, "").toLowerCase();
  return {
    name,
    source: prefix.endsWith("/") ? prefix : `${prefix}/`,
    condition,
    endpoint,
    priority,
    timeToLiveSecs,
  };
}

/** The path that sources are compared with, as edge hub builds it. */
export function sourcePath({ kind, message }: Routable): string {
  if (kind === "twinChange") return "/twinchangenotifications/";
  if (message.moduleId === undefined) return "/messages/";
  const module = `/messages/modules/${message.moduleId}/`;
  return (message.output === undefined ? module : `${module}outputs/${message.output}/`).toLowerCase();
}

function conditionInput(message: HubMessage): ConditionInput {
  const system = new Map(
    Object.entries(message.systemProperties).map(([key, value]) => [key.toLowerCase(), value]),
  );
  system.set("connectiondeviceid", message.deviceId);
  if (message.moduleId !== undefined) system.set("connectionmoduleid", message.moduleId);
  if (message.output !== undefined) system.set("outputname", message.output);
  return {
    property: (name) => (Object.hasOwn(message.properties, name) ? message.properties[name] : undefined),
    system: (name) => system.get(name),
    body: () => jsonBody(message)?.value,
  };
}

/**
 * The endpoints a message goes to: each once, by the route of the highest priority that leads there.
 * A source is a case-insensitive prefix of the message's path.
 */
export function matchRoutes(routes: readonly Route[], routable: Routable): readonly Match[] {
  const path = sourcePath(routable);
  const input = conditionInput(routable.message);
  const matches = new Map<string, Match>();
  for (const route of routes) {
    if (!path.startsWith(route.source) || route.condition(input) !== true) continue;
    const { endpoint, priority, timeToLiveSecs } = route;
    const key = endpoint.kind === "upstream" ? "$upstream" : `${endpoint.moduleId}/${endpoint.input}`;
    const known = matches.get(key);
    if (known === undefined || priority < known.priority)
      matches.set(key, { endpoint, priority, timeToLiveSecs });
  }
  return [...matches.values()];
}
