import { isObject, type JsonObject, type JsonValue } from "../core/json.ts";

/** Images of Azure's AI services, such as the one that scores texts. */
const image = /^mcr\.microsoft\.com\/azure-cognitive-services\//;
/** What the smallest of them is said to need. */
const leastMemoryBytes = 2_147_483_648;

type Report = (path: readonly string[], message: string) => void;

/**
 * What such a container does not serve without: consent, and where its use is billed.
 * Source: learn.microsoft.com, "Install and run sentiment analysis containers".
 */
export function checkAzureContainer(
  module: JsonObject,
  createOptions: JsonValue | undefined,
  path: readonly string[],
  report: Report,
): void {
  const settings = isObject(module.settings) ? module.settings : {};
  if (typeof settings.image !== "string" || !image.test(settings.image)) return;
  const environment = isObject(module.env) ? module.env : {};
  const given = (name: string) => {
    const entry = environment[name];
    return isObject(entry) ? entry.value : undefined;
  };
  if (given("Eula") !== "accept") report([...path, "env", "Eula"], "is `accept`, or it does not start");
  const billing = given("Billing");
  if (typeof billing !== "string" || !/^https:\/\/[^/]+/.test(billing))
    report([...path, "env", "Billing"], "is the endpoint of the Azure resource, https://…");
  const key = given("ApiKey");
  if (typeof key !== "string" || key === "") report([...path, "env", "ApiKey"], "is missing or empty");
  const host = isObject(createOptions) ? createOptions.HostConfig : undefined;
  const memory = isObject(host) ? host.Memory : undefined;
  if (typeof memory === "number" && memory !== 0 && memory < leastMemoryBytes)
    report([...path, "settings", "createOptions"], "Memory is less than 2 GB, the least that it needs");
}
