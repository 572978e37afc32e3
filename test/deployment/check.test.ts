import { describe, expect, it } from "vitest";
import { checkDeployment } from "../../src/deployment/check.ts";
import { generate, type Loose } from "./template.ts";

interface Parts {
  content: Loose;
  agent: Loose;
  hub: Loose;
  module: Loose;
  edgeHub: Loose;
  edgeAgent: Loose;
  desired: Loose;
}

function broken(change: (parts: Parts) => void): readonly string[] {
  const manifest = generate();
  const content = manifest.modulesContent;
  const agent = content.$edgeAgent["properties.desired"];
  change({
    content,
    agent,
    hub: content.$edgeHub["properties.desired"],
    module: agent.modules.gateway,
    edgeHub: agent.systemModules.edgeHub,
    edgeAgent: agent.systemModules.edgeAgent,
    desired: content.gateway["properties.desired"],
  });
  return checkDeployment(manifest).map((problem) => problem.path);
}

function nested(levels: number): Loose {
  return levels === 0 ? 1 : { a: nested(levels - 1) };
}

/** Each rule seen failing: what is changed, the end of a path reported, and the number of reports if more than one. */
const cases: readonly [rule: string, change: (parts: Parts) => void, path: string, count?: number][] = [
  ["the agent is there", ({ content }) => delete content.$edgeAgent, "modulesContent / $edgeAgent", 4],
  ["the hub is there", ({ content }) => delete content.$edgeHub, "modulesContent / $edgeHub"],
  ["a module has properties.desired", ({ content }) => (content.gateway = {}), "modulesContent / gateway"],
  [
    "a twin belongs to a deployed module",
    ({ content }) => (content.other = { "properties.desired": {} }),
    "modulesContent / other",
  ],

  [
    "the agent's schema is at most 1.1",
    ({ agent }) => (agent.schemaVersion = "1.2"),
    "$edgeAgent / properties.desired / schemaVersion",
  ],
  ["the runtime is docker", ({ agent }) => (agent.runtime.type = "kubernetes"), "runtime / type"],
  ["the runtime is there", ({ agent }) => delete agent.runtime, "properties.desired / runtime"],
  [
    "minDockerVersion is there",
    ({ agent }) => delete agent.runtime.settings.minDockerVersion,
    "minDockerVersion",
  ],
  [
    "a registry has a password",
    ({ agent }) => (agent.runtime.settings.registryCredentials.headgate.password = ""),
    "headgate / password",
  ],
  [
    "registryCredentials is an object",
    ({ agent }) => (agent.runtime.settings.registryCredentials = "x"),
    "registryCredentials",
  ],
  ["edgeHub is deployed", ({ agent }) => delete agent.systemModules.edgeHub, "systemModules / edgeHub"],
  [
    "only system modules stand under systemModules",
    ({ agent, edgeHub }) => (agent.systemModules.third = edgeHub),
    "systemModules / third",
  ],
  [
    "modules is an object",
    ({ agent, content }) => {
      agent.modules = [];
      delete content.gateway;
    },
    "properties.desired / modules",
    3,
  ],
  [
    "at most 50 modules",
    ({ agent, module }) => {
      for (let n = 0; n < 50; n++) agent.modules[`m${n}`] = module;
    },
    "properties.desired / modules",
    2,
  ],
  [
    "edgeAgent has no restart policy",
    ({ edgeAgent }) => (edgeAgent.restartPolicy = "always"),
    "edgeAgent / restartPolicy",
  ],
  ["a module is an object", ({ agent }) => (agent.modules.other = "x"), "modules / other"],
  ["a module's name", ({ agent, module }) => (agent.modules.ä = module), "modules / ä"],

  ["type", ({ module }) => (module.type = "process"), "gateway / type"],
  ["status", ({ module }) => (module.status = "paused"), "gateway / status"],
  ["status is there", ({ edgeHub }) => delete edgeHub.status, "edgeHub / status"],
  ["restartPolicy", ({ module }) => (module.restartPolicy = "unless-stopped"), "gateway / restartPolicy"],
  ["imagePullPolicy", ({ module }) => (module.imagePullPolicy = "always"), "gateway / imagePullPolicy"],
  ["startupOrder is not negative", ({ module }) => (module.startupOrder = -1), "gateway / startupOrder"],
  ["startupOrder is whole", ({ module }) => (module.startupOrder = 1.5), "gateway / startupOrder"],
  ["an environment name", ({ module }) => (module.env["A+B"] = { value: "x" }), "env / A+B"],
  ["an environment value", ({ module }) => (module.env.A = { value: ["x"] }), "env / A"],
  ["env is an object", ({ module }) => (module.env = "x"), "gateway / env"],
  ["an image is there", ({ module }) => delete module.settings.image, "settings / image"],
  [
    "an image is a reference",
    ({ module }) => (module.settings.image = "Registry/Head gate"),
    "settings / image",
  ],
  [
    "settings are there",
    ({ edgeAgent }) => {
      edgeAgent.settings = 1;
    },
    "edgeAgent / settings",
    2,
  ],

  ["createOptions is text", ({ module }) => (module.settings.createOptions = {}), "settings / createOptions"],
  [
    "a piece has 512 characters",
    ({ module }) => {
      module.settings = { image: "a/b:1", createOptions: `{}${" ".repeat(511)}` };
    },
    "settings / createOptions",
  ],
  [
    "pieces are contiguous",
    ({ module }) => {
      module.settings.createOptions02 = "{}";
    },
    "createOptions02",
  ],
  [
    "pieces join to JSON",
    ({ module }) => {
      module.settings = { image: "a/b:1", createOptions: "{", createOptions01: "{}" };
    },
    "settings / createOptions",
  ],
  [
    "createOptions is an object",
    ({ module }) => {
      module.settings = { image: "a/b:1", createOptions: "[]" };
    },
    "settings / createOptions",
  ],
  [
    "at most 8 pieces",
    ({ module }) => {
      module.settings = { image: "a/b:1", createOptions: "{" };
      for (let n = 1; n < 9; n++) module.settings[`createOptions0${n}`] = n === 8 ? "}" : " ";
    },
    "settings / createOptions",
  ],

  [
    "the hub's schema is known",
    ({ hub }) => (hub.schemaVersion = "2.0"),
    "$edgeHub / properties.desired / schemaVersion",
  ],
  [
    "the hub has a time to live",
    ({ hub }) => delete hub.storeAndForwardConfiguration.timeToLiveSecs,
    "storeAndForwardConfiguration / timeToLiveSecs",
  ],
  [
    "the hub has storeAndForwardConfiguration",
    ({ hub }) => {
      hub.storeAndForwardConfiguration = { timeToLiveSecs: "7200" };
    },
    "storeAndForwardConfiguration / timeToLiveSecs",
  ],
  ["routes are there", ({ hub }) => delete hub.routes, "properties.desired / routes"],
  ["a priority is at most 9", ({ hub }) => (hub.routes.alarms.priority = 10), "alarms / priority"],
  ["a priority is whole", ({ hub }) => (hub.routes.alarms.priority = "0"), "alarms / priority"],
  [
    "a time to live is not negative",
    ({ hub }) => (hub.routes.alarms.timeToLiveSecs = -1),
    "alarms / timeToLiveSecs",
  ],
  ["a route has no other key", ({ hub }) => (hub.routes.alarms.ttl = 1), "alarms / ttl"],
  ["a route is text", ({ hub }) => delete hub.routes.alarms.route, "routes / alarms"],
  [
    "a route starts with FROM",
    ({ hub }) => (hub.routes.alarms = "/messages/* INTO $upstream"),
    "routes / alarms",
  ],
  [
    "a route has a known source",
    ({ hub }) => (hub.routes.alarms = "FROM /message/* INTO $upstream"),
    "routes / alarms",
  ],
  [
    "a route has a known sink",
    ({ hub }) => (hub.routes.alarms = "FROM /messages/* INTO $cloud"),
    "routes / alarms",
  ],
  [
    "a condition can be read",
    ({ hub }) => (hub.routes.alarms = "FROM /messages/* WHERE a = INTO $upstream"),
    "routes / alarms",
  ],
  [
    "a source is deployed",
    ({ hub }) => (hub.routes.alarms = "FROM /messages/modules/other/* INTO $upstream"),
    "routes / alarms",
  ],
  [
    "a sink is deployed",
    ({ hub }) => (hub.routes.alarms = 'FROM /messages/* INTO BrokeredEndpoint("/modules/other/inputs/i")'),
    "routes / alarms",
  ],

  ["no open placeholder", ({ module }) => (module.env.A = { value: `a \${PLACE} b` }), "env / A / value"],
  ["no open variable", ({ desired }) => (desired.gateway.name = "$BOX_NAME"), "gateway / name"],
  [
    "32 KB of properties",
    ({ desired }) => {
      for (let n = 0; n < 9; n++) desired[`k${n}`] = "x".repeat(4000);
    },
    "gateway / properties.desired",
  ],
  ["4 KB of text", ({ desired }) => (desired.text = "ü".repeat(2049)), "text"],
  ["10 levels", ({ desired }) => (desired.a = nested(11)), "a / a / a / a / a / a / a / a / a / a / a"],
  ["no dot in a name", ({ desired }) => (desired["a.b"] = 1), "a.b"],
  ["no dollar in a name", ({ desired }) => (desired.gateway.$a = 1), "$a"],
  ["no hash in a name", ({ desired }) => (desired["a#"] = 1), "a#"],
  ["no space in a name", ({ desired }) => (desired["a b"] = 1), "a b"],
  ["1 KB of a name", ({ desired }) => (desired["x".repeat(1025)] = 1), "x".repeat(1025)],
  ["no integer beyond 52 bits", ({ desired }) => (desired.n = 2 ** 52), "n"],
  ["no null in an array", ({ desired }) => (desired.list = [1, null]), "list / 1"],
];

describe("a broken manifest", () => {
  it.each(cases)("%s", (_rule, change, path, count = 1) => {
    const paths = broken(change);
    expect(paths.some((found) => found.endsWith(path))).toBe(true);
    expect(paths).toHaveLength(count);
  });

  it("without modulesContent says so, under the old key too", () => {
    for (const manifest of [null, [], {}, { moduleContent: generate().modulesContent }]) {
      expect(checkDeployment(manifest)).toMatchObject([{ path: "modulesContent" }]);
    }
  });

  it("with a template's version says so", () => {
    expect(checkDeployment({ ...generate(), "$schema-template": "4.0.0" })).toMatchObject([
      { path: "$schema-template" },
    ]);
  });

  it("reports each use of what the old schemas lack", () => {
    expect(
      broken(({ agent }) => (agent.schemaVersion = "1.0")).map((path) => path.split(" / ").at(-1)),
    ).toEqual(["startupOrder", "startupOrder"]);
    expect(broken(({ hub }) => (hub.schemaVersion = "1.0")).map((path) => path.split(" / ").at(-1))).toEqual([
      "alarms",
      "readings",
    ]);
  });

  it("reports a bad name of a route and of a registry, as a name and as a twin's property", () => {
    for (const paths of [
      broken(({ hub }) => (hub.routes["a b"] = hub.routes.alarms)),
      broken(
        ({ agent }) =>
          (agent.runtime.settings.registryCredentials["a b"] = {
            address: "a",
            username: "b",
            password: "c",
          }),
      ),
    ]) {
      expect(paths).toHaveLength(2);
      expect(new Set(paths.map((path) => path.split(" / ").at(-1)))).toEqual(new Set(["a b"]));
    }
  });
});

describe("what is allowed", () => {
  it.each<[string, (parts: Parts) => void]>([
    [
      "a route as text",
      ({ hub }) =>
        (hub.routes.alarms = "FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO $upstream"),
    ],
    [
      "a route to a module",
      ({ hub }) =>
        (hub.routes.alarms.route = 'FROM /messages/* INTO BrokeredEndpoint("/modules/gateway/inputs/i")'),
    ],
    [
      "a digest, and a registry with a port",
      ({ module }) => (module.settings.image = `localhost:5000/a/b-c:1@sha256:${"0".repeat(64)}`),
    ],
    ["no createOptions", ({ module }) => (module.settings = { image: "busybox" })],
    [
      "a global time to live that never ends",
      ({ hub }) => (hub.storeAndForwardConfiguration.timeToLiveSecs = -1),
    ],
    ["10 levels", ({ desired }) => (desired.a = nested(10))],
    ["4 KB of text", ({ desired }) => (desired.text = "ü".repeat(2048))],
    ["no registry credentials", ({ agent }) => delete agent.runtime.settings.registryCredentials],
  ])("%s", (_what, change) => {
    expect(broken(change)).toEqual([]);
  });
});
