import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import type { JsonObject } from "../../src/core/json.ts";
import { generateDeployment, type ModuleFile } from "../../src/deployment/manifest.ts";

export const platforms = ["amd64", "arm32v7", "arm64v8"] as const;
export type Platform = (typeof platforms)[number];

export function readText(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
}

// biome-ignore lint/suspicious/noExplicitAny: the tests reach deep into documents to break them
export type Loose = any;

export const template = JSON.parse(readText("deployment.template.json")) as JsonObject;
export const moduleFile = JSON.parse(readText("modules/gateway/module.json")) as ModuleFile;

/** As after `cp .env.example .env` and filling in a registry's password. */
export const environment: Record<string, string | undefined> = {
  ...parseEnv(readText(".env.example")),
  CONTAINER_REGISTRY_USERNAME: "puller",
  CONTAINER_REGISTRY_PASSWORD: 'pa"ss\\word',
};

export function generate(platform: Platform = "amd64", overrides: Record<string, string> = {}): Loose {
  return generateDeployment(template, {
    platform,
    environment: { ...environment, ...overrides },
    modules: { gateway: moduleFile },
  });
}

export function joinedCreateOptions(settings: Record<string, string>): Loose {
  const keys = Object.keys(settings)
    .filter((key) => key.startsWith("createOptions"))
    .sort();
  return JSON.parse(keys.map((key) => settings[key]).join(""));
}
