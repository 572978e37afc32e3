import { askStatus } from "../api/status-socket.ts";
import { layersBelowTwin, storePath } from "../config/configuration.ts";
import { environmentLayer } from "../config/layers.ts";
import { ConfigError, messageOf } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import { exitCode } from "./exit-code.ts";

const deadlineMs = 5_000;

/** A daemon may well run on its last good configuration while the file is broken. */
export function layersFor(config: string | undefined): JsonObject {
  try {
    return layersBelowTwin(config, process.env);
  } catch (error) {
    if (error instanceof ConfigError) return environmentLayer(process.env);
    throw error;
  }
}

/** `headgate status`: what the daemon on this store says; the container's health check. */
export async function status({ config, json }: { config?: string; json?: boolean }): Promise<void> {
  const folder = storePath(layersFor(config));
  try {
    const answer = await askStatus(folder, deadlineMs);
    if (json) process.stdout.write(`${JSON.stringify(answer)}\n`);
    else
      process.stdout.write(
        `${answer.healthy ? "healthy" : "not healthy"}\n${JSON.stringify(answer, null, 2)}\n`,
      );
    process.exitCode = answer.healthy ? exitCode.stopped : exitCode.crashed;
  } catch (error) {
    process.stderr.write(`headgate: no gateway answers for the store in ${folder}: ${messageOf(error)}\n`);
    process.exitCode = exitCode.crashed;
  }
}
