/**
 * `node src/deployment/generate.ts PLATFORM > manifest.json`, in the root of the repository:
 * the deployment of `deployment.template.json` with the variables of `.env` and of the environment.
 * Exit code 78 and the problems on stderr if the manifest breaks a rule.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { isObject, type JsonObject } from "../core/json.ts";
import { checkDeployment } from "./check.ts";
import { generateDeployment, leftOut, type ModuleFile } from "./manifest.ts";

function readJson(path: string): JsonObject {
  const value: unknown = JSON.parse(readFileSync(path, "utf8"));
  if (!isObject(value)) throw new TypeError(`${path} is not a JSON object`);
  return value;
}

const file = existsSync(".env") ? parseEnv(readFileSync(".env", "utf8")) : {};
const environment = { ...file, ...process.env };
const modules: Record<string, ModuleFile> = {};
for (const folder of readdirSync("modules")) {
  const path = `modules/${folder}/module.json`;
  if (existsSync(path)) modules[folder] = readJson(path) as unknown as ModuleFile;
}
const manifest = generateDeployment(readJson("deployment.template.json"), {
  platform: process.argv[2] ?? environment.DEFAULT_PLATFORM ?? "amd64",
  environment,
  modules,
});
process.stdout.write(`${JSON.stringify(manifest, null, 2)}\n`);
for (const name of leftOut(environment))
  process.stderr.write(`the module ${name} is left out: .env.example says what it needs\n`);
for (const { path, message } of checkDeployment(manifest)) {
  process.stderr.write(`${path}: ${message}\n`);
  process.exitCode = 78;
}
