import { defineConfig } from "vitest/config";
import { nodeOptions } from "./test/support/strip-sources.ts";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Half of the time goes into waiting for real processes, ports and deadlines.
    maxWorkers: 4,
    // Processes that tests start need not take out types at each start.
    globalSetup: "test/support/strip-sources.ts",
    env: {
      NODE_OPTIONS: nodeOptions,
      // Tests that call the runtime by themselves write nothing for its maker either.
      ORT_DISABLE_TELEMETRY: "1",
    },
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
