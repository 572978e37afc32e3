import { resolve } from "node:path";
import { ConfigError } from "../core/errors.ts";
import { startEmbeddedHub } from "../embedded-hub/embedded-hub.ts";
import { createLog } from "../observe/log.ts";
import { stdoutClosed, untilStopped } from "./lifetime.ts";

export interface HubOptions {
  readonly port: string;
  readonly controlPort: string;
  readonly metricsPort?: string;
  readonly module: readonly string[];
  readonly messageLog?: string;
  readonly json?: boolean;
}

/** `headgate hub`: the embedded hub alone, and the variables with which a module connects to it. */
export async function hub(options: HubOptions, signal: Promise<unknown>): Promise<void> {
  const reasons = [signal, stdoutClosed()];
  const log = await createLog({ level: "info", pretty: process.stderr.isTTY === true });
  const embedded = await startEmbeddedHub({
    port: port("--port", options.port),
    controlPort: port("--control-port", options.controlPort),
    ...(options.metricsPort === undefined
      ? {}
      : { metricsPort: port("--metrics-port", options.metricsPort) }),
    modules: options.module,
    ...(options.messageLog === undefined ? {} : { messageLog: resolve(options.messageLog) }),
  });
  const { metricsUrl } = embedded;
  const upstream = metricsUrl === undefined ? {} : { HEADGATE__hub__upstream__url: metricsUrl };
  const environments = Object.fromEntries(
    options.module.map((name) => [name, { ...embedded.environment(name), ...upstream }]),
  );
  if (options.json) {
    const { port: mqttPort, controlUrl, deviceId, hostName } = embedded;
    process.stdout.write(
      `${JSON.stringify({ port: mqttPort, controlUrl, metricsUrl, deviceId, hostName, environments })}\n`,
    );
  } else {
    const lines = [
      `# hub, MQTT     mqtts://localhost:${embedded.port}`,
      `# hub, control  ${embedded.controlUrl}/hub/status`,
      ...(metricsUrl === undefined ? [] : [`# hub, metrics  ${metricsUrl}`]),
    ];
    for (const [name, environment] of Object.entries(environments)) {
      lines.push("", `# module ${name}: paste into the shell that runs it, then \`headgate run\``);
      for (const [key, value] of Object.entries(environment)) lines.push(`export ${key}='${value}'`);
    }
    process.stdout.write(`${lines.join("\n")}\n`);
  }
  await untilStopped(reasons, () => embedded.stop(), log);
}

function port(option: string, text: string): number {
  const value = Number(text);
  if (/^\d{1,5}$/.test(text) && value <= 65_535) return value;
  throw new ConfigError("CONFIG_INVALID", [{ path: option, message: `${text} is not a port` }]);
}
