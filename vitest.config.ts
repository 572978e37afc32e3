import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Half of the time goes into waiting for real processes, ports and deadlines.
    maxWorkers: 3,
    // Tests that call the runtime by themselves write nothing for its maker either.
    env: { ORT_DISABLE_TELEMETRY: "1" },
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
