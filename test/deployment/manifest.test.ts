import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { configSchema, localSections } from "../../src/config/schema.ts";
import { checkDeployment } from "../../src/deployment/check.ts";
import { createOptionsPieces, generateDeployment } from "../../src/deployment/manifest.ts";
import { matchRoutes, parseRoute, type RouteDefinition } from "../../src/embedded-hub/routes.ts";
import { headersOf } from "../../src/outbox/message-body.ts";
import {
  environment,
  generate,
  joinedCreateOptions,
  type Loose,
  moduleFile,
  platforms,
  readText,
  template,
} from "./template.ts";

const agentOf = (manifest: Loose) => manifest.modulesContent.$edgeAgent["properties.desired"];

describe.each(platforms)("the deployment for %s", (platform) => {
  const manifest = generate(platform);
  const gateway = agentOf(manifest).modules.gateway;

  it("breaks no rule", () => {
    expect(checkDeployment(manifest)).toEqual([]);
  });

  it("names the image of its platform", () => {
    expect(gateway.settings.image).toBe(`myregistry.azurecr.io/headgate:0.1.0-${platform}`);
    expect(moduleFile.image.tag.platforms[platform]).toBe(`../../Dockerfile.${platform}`);
  });

  it("holds createOptions in pieces that join to the template's", () => {
    const options = joinedCreateOptions(gateway.settings);
    const before = (template as Loose).modulesContent.$edgeAgent["properties.desired"].modules.gateway;
    expect(options).toEqual({
      ...before.settings.createOptions,
      HostConfig: {
        ...before.settings.createOptions.HostConfig,
        Binds: ["headgate-data:/data", "/dev:/dev:ro"],
        GroupAdd: ["20", "994"],
      },
    });
  });
});

describe("generating", () => {
  it("leaves nothing of the template's own and does not change the template", () => {
    const before = JSON.stringify(template);
    const manifest = generate();
    expect(manifest["$schema-template"]).toBeUndefined();
    expect(JSON.stringify(template)).toBe(before);
  });

  it("takes a value as text, also with a quote and a backslash in it", () => {
    const credentials = agentOf(generate()).runtime.settings.registryCredentials.headgate;
    expect(credentials.password).toBe('pa"ss\\word');
  });

  it("puts CONTAINER_TAG between version and platform", () => {
    const manifest = generate("arm64v8", {
      CONTAINER_TAG: "pilot",
      CONTAINER_REGISTRY_SERVER: "Reg.Example",
    });
    expect(agentOf(manifest).modules.gateway.settings.image).toBe("reg.example/headgate:0.1.0-pilot-arm64v8");
  });

  it(`knows $NAME, \${NAME}, fixed platforms and debug images, and leaves what it does not know`, () => {
    const debug = {
      image: {
        repository: "r/x",
        tag: { version: "1", platforms: { amd64: "a", "amd64.debug": "b", arm64v8: "c" } },
      },
    };
    const images = [
      `\${MODULES.x}`,
      `\${MODULES.x.debug}`,
      `\${MODULES.x.arm64v8}`,
      "$HOST/y:1",
      `\${NONE}/y:1`,
      "$none",
    ];
    const modules = Object.fromEntries(images.map((image, n) => [`m${n}`, { settings: { image } }]));
    const made = generateDeployment(
      { modulesContent: { $edgeAgent: { "properties.desired": { modules } } } },
      { platform: "amd64", environment: { HOST: "h" }, modules: { x: debug } },
    );
    const names = Object.values(agentOf(made).modules).map((module) => (module as Loose).settings.image);
    expect(names).toEqual([
      "r/x:1-amd64",
      "r/x:1-amd64.debug",
      "r/x:1-arm64v8",
      "h/y:1",
      `\${NONE}/y:1`,
      "$none",
    ]);
  });

  it("cuts at 512 characters and escapes what is not ASCII", () => {
    expect(createOptionsPieces("x".repeat(512))).toEqual({ createOptions: "x".repeat(512) });
    const options = { Labels: { place: "Ofen ü 🔥".repeat(200) } };
    const pieces = createOptionsPieces(options);
    expect(Object.keys(pieces)).toEqual([
      "createOptions",
      ...Array.from(
        { length: Object.keys(pieces).length - 1 },
        (_, n) => `createOptions${String(n + 1).padStart(2, "0")}`,
      ),
    ]);
    expect(Object.values(pieces).every((piece) => piece.length <= 512 && /^[ -~]+$/.test(piece))).toBe(true);
    expect(joinedCreateOptions(pieces)).toEqual(options);
    expect(createOptionsPieces({})).toEqual({ createOptions: "{}" });
  });

  it("gives a platform that module.json does not have an open placeholder", () => {
    const manifest = generateDeployment(template, {
      platform: "riscv64",
      environment,
      modules: { gateway: moduleFile },
    });
    expect(checkDeployment(manifest).map((problem) => problem.path)).toContain(
      "modulesContent / $edgeAgent / properties.desired / modules / gateway / settings / image",
    );
  });
});

describe("the sentiment container", () => {
  const given = {
    SENTIMENT_BILLING: "https://texts.cognitiveservices.azure.com/",
    SENTIMENT_API_KEY: "0123456789abcdef",
  };
  const manifest = generate("amd64", given);
  const module = agentOf(manifest).modules.sentiment;
  const desired = manifest.modulesContent.gateway["properties.desired"];

  it("comes with consent, billing and key of the environment, and breaks no rule", () => {
    expect(checkDeployment(manifest)).toEqual([]);
    expect(module.env).toEqual({
      Eula: { value: "accept" },
      Billing: { value: given.SENTIMENT_BILLING },
      ApiKey: { value: given.SENTIMENT_API_KEY },
    });
    expect(module.settings.image).toMatch(/\/textanalytics\/sentiment:3\.0-en$/);
  });

  it("is where the gateway's configuration looks for it", () => {
    expect(new URL(desired.sentiment.url).hostname).toBe("sentiment");
    expect(configSchema.safeParse({ ...desired, hub: { type: "edge" } }).error?.issues).toBeUndefined();
  });

  it("is left out, and the gateway's section with it, where nothing is given for it", () => {
    const without = generate();
    expect(Object.keys(agentOf(without).modules)).toEqual(["gateway"]);
    expect(without.modulesContent.gateway["properties.desired"]).not.toHaveProperty("sentiment");
    const { sentiment: _, ...rest } = desired;
    expect(without.modulesContent.gateway["properties.desired"]).toEqual(rest);
  });

  it("has its create options in docs/deployment.md, ready to paste", () => {
    const text = /<!-- sentimentCreateOptions -->\s+```json\n([\s\S]*?)```/.exec(
      readText("docs/deployment.md"),
    );
    expect(JSON.parse(text?.[1] ?? "null")).toEqual(joinedCreateOptions(module.settings));
  });

  it.each<[string, (module: Loose) => void, string]>([
    ["Eula", ({ env }) => (env.Eula.value = "no"), "env / Eula"],
    ["an endpoint", ({ env }) => (env.Billing.value = "texts"), "env / Billing"],
    ["a key", ({ env }) => (env.ApiKey.value = ""), "env / ApiKey"],
    ["any environment", (module) => delete module.env, "env / Eula"],
    [
      "2 GB",
      ({ settings }) => (settings.createOptions = '{"HostConfig":{"Memory":1000000000}}'),
      "settings / createOptions",
    ],
  ])("is reported without %s", (_, breakIt, path) => {
    const broken = generate("amd64", given);
    breakIt(agentOf(broken).modules.sentiment);
    const paths = checkDeployment(broken).map((problem) => problem.path);
    expect(paths.some((found) => found.endsWith(`modules / sentiment / ${path}`))).toBe(true);
  });
});

describe("the template", () => {
  const manifest = generate();
  const desired = manifest.modulesContent.gateway["properties.desired"];
  const options = joinedCreateOptions(agentOf(manifest).modules.gateway.settings);

  it("has desired properties that the configuration's schema accepts", () => {
    expect(configSchema.safeParse({ ...desired, hub: { type: "edge" } }).error?.issues).toBeUndefined();
    for (const section of localSections) expect(desired).not.toHaveProperty(section);
  });

  it("sends what the gateway publishes upstream, alarms first", () => {
    const definitions = manifest.modulesContent.$edgeHub["properties.desired"].routes as Record<
      string,
      RouteDefinition
    >;
    const routes = Object.entries(definitions).map(([name, definition]) => parseRoute(name, definition));
    const sent = (output: string, properties: Record<string, string> = {}) =>
      matchRoutes(routes, {
        kind: "telemetry",
        message: {
          deviceId: "box",
          moduleId: "gateway",
          output,
          properties,
          systemProperties: {},
        } as Loose,
      });
    const { output } = desired.publish;
    const propertiesOf = (of: "alarm" | "live" | "backfill") =>
      headersOf({ class: of, format: "array" }, false).properties;
    const upstream = { endpoint: { kind: "upstream" } };
    expect(sent(output, propertiesOf("alarm"))).toMatchObject([{ ...upstream, priority: 0 }]);
    for (const of of ["live", "backfill"] as const)
      expect(sent(output, propertiesOf(of))).toMatchObject([{ ...upstream, priority: 5 }]);
    expect(sent("other")).toEqual([]);
  });

  it("lets the module reach its devices and little else", () => {
    const { HostConfig: host } = options;
    expect(host.Binds).toContain("/dev:/dev:ro");
    expect(host.Devices).toBeUndefined();
    expect(host.Privileged).toBeUndefined();
    expect(host.CapDrop).toEqual(["ALL"]);
    expect(host.ReadonlyRootfs).toBe(true);
    // 188 ttyUSB, 166 ttyACM, 204 ttyAMA, 89 i2c; 4:64 is ttyS0. 4:0 to 4:63 are the consoles and stay closed.
    const rules = host.DeviceCgroupRules as string[];
    for (const rule of rules) expect(rule).toMatch(/^c (188:\*|166:\*|204:\*|89:\*|4:6[4-7]) rw$/);
    for (const major of [188, 166, 204, 89]) expect(rules).toContain(`c ${major}:* rw`);
  });

  it("gives the module longer to stop than its drain needs", () => {
    expect(options.StopTimeout).toBeGreaterThan(8);
  });

  it("uses every variable of .env.example that is not the tool's own, and no other", () => {
    const own = [
      "CONTAINER_TAG",
      "DEFAULT_PLATFORM",
      "IOTHUB_CONNECTION_STRING",
      "DEVICE_CONNECTION_STRING",
      "DEPLOYMENT_CONFIG_TEMPLATE_FILE",
      "CONFIG_OUTPUT_DIR",
    ];
    const used = new Set(
      [...JSON.stringify([template, moduleFile]).matchAll(/\$\{([A-Z_0-9]+)\}/g)].map((m) => m[1]),
    );
    expect([...used, ...own].sort()).toEqual(Object.keys(environment).sort());
  });
});

describe("docs/deployment.md", () => {
  /** The JSON block behind `<!-- name -->`. */
  const block = (name: string) => {
    const text = new RegExp(`<!-- ${name} -->\\s+\`\`\`json\\n([\\s\\S]*?)\`\`\``).exec(
      readText("docs/deployment.md"),
    )?.[1];
    return JSON.parse(text ?? "null");
  };
  const manifest = generate();

  it("shows what the template holds, ready to paste", () => {
    expect(block("createOptions")).toEqual(joinedCreateOptions(agentOf(manifest).modules.gateway.settings));
    expect(block("twin")).toEqual(manifest.modulesContent.gateway["properties.desired"]);
  });

  it("names each route as the template has it", () => {
    for (const route of Object.values(manifest.modulesContent.$edgeHub["properties.desired"].routes)) {
      expect(readText("docs/deployment.md")).toContain((route as Loose).route);
    }
  });
});

describe("generate.ts", () => {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const script = "src/deployment/generate.ts";

  it("prints the manifest", () => {
    const out = execFileSync(process.execPath, [script, "arm64v8"], {
      cwd: root,
      env: { ...process.env, ...environment } as NodeJS.ProcessEnv,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    expect(JSON.parse(out)).toEqual(generate("arm64v8"));
  });

  it("exits 78 and names what is open", () => {
    const { I2C_GID: _missing, ...rest } = environment;
    const { status, stderr } = spawnSync(process.execPath, [script, "amd64"], {
      cwd: root,
      env: { ...rest, I2C_GID: `\${I2C_GID}` } as NodeJS.ProcessEnv,
      encoding: "utf8",
    });
    expect(status).toBe(78);
    expect(stderr).toContain(`\${I2C_GID}`);
  });
});
