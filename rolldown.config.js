/**
 * What an image runs: the program and the packages that it loads at every start, in a few files instead of hundreds.
 * Types are checked elsewhere. See `docs/decisions/0013-images-run-a-bundle.md`.
 */
export default {
  input: {
    main: "src/main.ts",
    "store-thread": "src/store/store-thread.ts",
    "model-thread-entry": "src/infer/model-thread-entry.ts",
  },
  platform: "node",
  // What looks for files beside its own: binaries, the SDK's inner modules, and what only a terminal needs.
  external: [
    "better-sqlite3",
    "koffi",
    "@serialport/bindings-cpp",
    /^azure-iot-/,
    "onnxruntime-node",
    "onnxruntime-web",
    "sharp",
    "pino-pretty",
  ],
  output: {
    dir: "dist",
    format: "esm",
    // Beside `main.js`: `new Worker` looks for its file there, and `version.ts` for `package.json` one folder up.
    entryFileNames: "[name].js",
    chunkFileNames: "[name]-[hash].js",
  },
};
