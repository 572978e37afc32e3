import { askStatus } from "../api/status-socket.ts";
import { readConfigFile, storePath } from "../config/configuration.ts";
import { environmentLayer, mergePatch } from "../config/layers.ts";
import { messageOf } from "../core/errors.ts";
import { exitCode } from "./exit-code.ts";

const deadlineMs = 5_000;

/** `headgate status`: what the daemon on this store says; the container's health check. */
export async function status({ config, json }: { config?: string; json?: boolean }): Promise<void> {
  const file = config === undefined ? {} : readConfigFile(config);
  const folder = storePath(mergePatch(file, environmentLayer(process.env)));
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
