import { checkConfig } from "../config/check.ts";
import { layersBelowTwin } from "../config/configuration.ts";
import type { Config, SecretReference } from "../config/schema.ts";
import { resolveSecret } from "../config/secrets.ts";
import { ConfigError, type Problem } from "../core/errors.ts";
import { exitCode } from "./exit-code.ts";
import { formatProblem } from "./problems.ts";

/** `headgate check`: every problem of the file and the environment, each with its path and a hint. */
export function check(file: string | undefined, { json }: { json?: boolean }): void {
  const { problems, warnings, hash } = examine(file, process.env);
  if (json)
    process.stdout.write(`${JSON.stringify({ ok: problems.length === 0, hash, problems, warnings })}\n`);
  else {
    for (const problem of problems) process.stdout.write(`error    ${formatProblem(problem)}\n`);
    for (const warning of warnings) process.stdout.write(`warning  ${formatProblem(warning)}\n`);
    if (problems.length === 0) process.stdout.write(`ok       configuration ${hash}\n`);
  }
  process.exitCode = problems.length === 0 ? exitCode.stopped : exitCode.badConfiguration;
}

interface Examination {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  readonly hash: string | undefined;
}

function examine(file: string | undefined, environment: NodeJS.ProcessEnv): Examination {
  try {
    const { config, hash } = checkConfig(layersBelowTwin(file, environment));
    const warnings = [...warningsOf(config), ...storeWarnings(config, environment)];
    return { problems: unreadableSecrets(config, environment), warnings, hash };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { problems: error.problems, warnings: [], hash: undefined };
  }
}

function unreadableSecrets(config: Config, environment: NodeJS.ProcessEnv): Problem[] {
  return secretsOf(config).flatMap(([path, reference]) => {
    try {
      if (reference) resolveSecret(reference, path, environment);
      return [];
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return error.problems;
    }
  });
}

/** What is read of each when it is used, by path. */
function secretsOf({
  hub,
  api,
  sources,
  models,
  sentiment,
}: Config): (readonly [string, SecretReference | undefined])[] {
  return [
    ["hub.connectionString", hub.type === "iothub" ? hub.connectionString : undefined],
    ["hub.password", hub.type === "mqtt" ? hub.password : undefined],
    ["api.token", api.state === "on" ? api.token : undefined],
    ...Object.entries(sources).map(
      ([name, source]) =>
        [
          `sources.${name}.password`,
          source.state === "on" && "password" in source ? source.password : undefined,
        ] as const,
    ),
    ...Object.entries(models).map(
      ([name, { state, remote }]) =>
        [`models.${name}.remote.token`, state === "on" ? remote?.token : undefined] as const,
    ),
    ["sentiment.key", sentiment.state === "on" && sentiment.url !== undefined ? sentiment.key : undefined],
  ];
}

/** The last good configuration lies beside the store; a broken file cannot say where that is. */
function storeWarnings({ store }: Config, environment: NodeJS.ProcessEnv): Problem[] {
  if (store.path === "data" || environment.HEADGATE__store__path !== undefined) return [];
  const hint = `set HEADGATE__store__path=${store.path} as well`;
  return [{ path: "store.path", message: "cannot be found when the file is broken at a start", hint }];
}

const beyondLoopback = /^tcp:\/\/(?!127\.|localhost:|\[::1\])/;

/** What is allowed and probably not meant. */
function warningsOf(config: Config): Problem[] {
  const warnings: Problem[] = [];
  const sources = Object.entries(config.sources).filter(([, source]) => source.state === "on");
  const windows = Object.values(config.windows).filter((window) => window.state === "on");
  if (sources.length === 0) warnings.push({ path: "sources", message: "nothing is read" });
  for (const [name, source] of sources) {
    if (!windows.some((window) => !window.sources || window.sources.includes(name))) {
      const hint = "add a window, or it will all be counted as discarded (unrouted)";
      warnings.push({ path: `sources.${name}`, message: "no window takes its readings", hint });
    }
    if (source.type === "socket" && beyondLoopback.test(source.listen ?? "")) {
      const hint = "prefer tcp://127.0.0.1:…, or a unix socket; else let a firewall say who may";
      const message = "whoever reaches this address can bring readings: there is no password";
      warnings.push({ path: `sources.${name}.listen`, message, hint });
    }
    if (source.type === "serial" && /^\/dev\/tty(USB|ACM)\d+$/.test(source.path)) {
      const hint = "prefer /dev/serial/by-id/…: numbers change when adapters are plugged in another order";
      warnings.push({ path: `sources.${name}.path`, message: `${source.path} may change`, hint });
    }
  }
  return warnings;
}
