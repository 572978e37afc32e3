import { describe, expect, it } from "vitest";
import { platforms, readText } from "./template.ts";

interface Instruction {
  readonly name: string;
  readonly text: string;
}

/** Stages of a Dockerfile; what stands before the first FROM is the stage 0. */
function stagesOf(dockerfile: string): Instruction[][] {
  const lines = dockerfile
    .split("\n")
    .filter((line) => !line.startsWith("#") && line.trim() !== "")
    .join("\n")
    .replaceAll(/\\\n\s*/g, "")
    .split("\n");
  const stages: Instruction[][] = [[]];
  for (const line of lines) {
    const [name = "", ...rest] = line.split(" ");
    if (name === "FROM") stages.push([]);
    stages.at(-1)?.push({ name, text: rest.join(" ").trim() });
  }
  return stages;
}

const all = (stage: readonly Instruction[], name: string) =>
  stage.filter((instruction) => instruction.name === name).map((instruction) => instruction.text);

const bases = {
  amd64: ["node:22-bookworm-slim", "x64"],
  arm32v7: ["arm32v7/node:22-bookworm-slim", "arm"],
  arm64v8: ["arm64v8/node:22-bookworm-slim", "arm64"],
} as const;

describe.each(platforms)("Dockerfile.%s", (platform) => {
  const text = readText(`Dockerfile.${platform}`);
  const [head = [], ...stages] = stagesOf(text);
  const last = stages.at(-1) ?? [];
  const earlier = stages.slice(0, -1).flat();

  it("builds every stage on the base of its platform, and refuses another", () => {
    const [base, architecture] = bases[platform];
    expect(all(head, "ARG")).toEqual([`NODE_IMAGE=${base}`, `NODE_ARCH=${architecture}`]);
    expect(stages.length).toBeGreaterThan(1);
    for (const stage of stages) expect(stage[0]?.text).toMatch(/^\$\{NODE_IMAGE\}( AS \w+)?$/);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
    expect(all(earlier, "RUN")).toContain('test "$(node -p process.arch)" = "${NODE_ARCH}"');
  });

  it("installs from the lock file, without what only development needs", () => {
    expect(all(earlier, "COPY")[0]).toBe("package.json package-lock.json .npmrc ./");
    const install = all(earlier, "RUN").find((command) => command.startsWith("npm ci --omit=dev")) ?? "";
    expect(install).toContain("rm -rf node_modules/node-linux-*");
    expect(text.replaceAll(/^#.*$/gm, "")).not.toContain("--omit=optional");
  });

  it("keeps the binaries of its platform only", () => {
    const target = { amd64: "linux-x64", arm32v7: "linux-arm", arm64v8: "linux-arm64" }[platform];
    expect(text).toContain(`! -path '*/${target}/*.`);
    if (platform === "arm32v7") expect(text).not.toContain("better-sqlite3/prebuilds");
    else expect(text).toContain(`better-sqlite3/prebuilds -type f ! -name ${target}.node -delete`);
    if (platform === "arm32v7") {
      expect(text).toContain("rm -rf node_modules/onnxruntime-node\n");
      expect(text).toContain("! -name ort-wasm-simd-threaded.wasm");
    } else {
      const architecture = target.replace("linux-", "");
      expect(text).toContain(`onnxruntime-node/bin -type f ! -path '*/linux/${architecture}/*' -delete`);
      expect(text).toContain("rm -rf node_modules/onnxruntime-web\n");
    }
  });

  it("has no tool to build, install or download with in the last stage", () => {
    const commands = all(last, "RUN").join("\n");
    expect(commands).not.toMatch(/apt-get|npm (ci|install|run)|node-gyp|curl|wget|g\+\+|make/);
    expect(commands).toMatch(/rm -rf .*\/usr\/local\/lib\/node_modules .*\/usr\/local\/bin\/npm /);
    expect(all(last, "COPY").filter((copy) => copy.startsWith("--from="))).toEqual([
      "--from=dependencies /build/node_modules node_modules",
      "--from=build /build/dist dist",
    ]);
  });

  it("runs as a fixed user that is not root, keeps dialout, and owns /data", () => {
    // A group behind the number would take the user's other groups away.
    expect(all(last, "USER")).toEqual(["10900"]);
    const commands = all(last, "RUN").join("\n");
    expect(commands).toContain("groupadd --gid 10900 headgate");
    expect(commands).toContain("useradd --uid 10900 --gid 10900 --groups dialout");
    expect(commands).toContain("install -d -o 10900 -g 10900 -m 0750 /data");
    expect(all(last, "ENV").join()).toContain("HEADGATE__store__path=/data");
    // Nothing behind USER would be done as root.
    expect(last.map((instruction) => instruction.name).slice(-4)).toEqual([
      "USER",
      "STOPSIGNAL",
      "HEALTHCHECK",
      "ENTRYPOINT",
    ]);
  });

  it("is started, watched and stopped without a shell in between", () => {
    expect(all(last, "ENTRYPOINT")).toEqual(['["node", "bin/headgate.js", "run"]']);
    expect(all(last, "STOPSIGNAL")).toEqual(["SIGTERM"]);
    expect(all(last, "HEALTHCHECK")).toHaveLength(1);
    expect(all(last, "HEALTHCHECK")[0]).toMatch(/ CMD \["node", "bin\/headgate\.js", "status"\]$/);
  });

  it("needs no BuildKit", () => {
    expect(text).not.toMatch(/^# *syntax=|--mount=|--link|--chmod|<<|\$BUILDPLATFORM/m);
  });

  it("copies only what .dockerignore lets through", () => {
    const allowed = readText(".dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));
    const copied = stages
      .flatMap((stage) => all(stage, "COPY"))
      .filter((copy) => !copy.startsWith("--from="))
      .flatMap((copy) => copy.split(" ").slice(0, -1));
    expect(new Set(copied)).toEqual(new Set(allowed));
  });
});

it("the three Dockerfiles are one text but for their marked lines", () => {
  const common = platforms.map((platform) =>
    readText(`Dockerfile.${platform}`)
      .split("\n")
      .slice(1)
      .join("\n")
      .replaceAll(/^# platform\n.*?^# end of platform$/gms, "(platform)"),
  );
  expect(common[0]?.split("(platform)")).toHaveLength(3);
  expect(new Set(common).size).toBe(1);
});

it("only 32-bit Arm compiles, with tools that stay behind", () => {
  const tools = /apt-get install.*g\+\+/;
  const [, ...arm] = stagesOf(readText("Dockerfile.arm32v7"));
  const compile = all(arm[0] ?? [], "RUN").join("\n");
  expect(compile).toMatch(tools);
  // Where better-sqlite3's lib/binding.js looks first.
  expect(compile).toContain("! -path build/Release/better_sqlite3.node -delete");
  expect(compile).toContain("--nodedir=/usr/local");
  for (const platform of ["amd64", "arm64v8"]) expect(readText(`Dockerfile.${platform}`)).not.toMatch(tools);
});
