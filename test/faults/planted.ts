/** A defect that the campaign must find: texts of the sources, and what stands there instead. */
export interface PlantedDefect {
  readonly name: string;
  /** Each text must be found exactly once, or the defect is out of date. */
  readonly edits: readonly { readonly file: string; readonly find: string; readonly replace: string }[];
  /** The part that must find it, and in how many rounds. */
  readonly part: string;
  readonly rounds: number;
}

const store = "src/store/store.ts";
const writesState = "state.ledger = [...ledger];\n    this.#disk.stateRow.write(state);";
const commits = 'enterPhase("commit");\n      this.#database.exec("COMMIT");';

export const plantedDefects: readonly PlantedDefect[] = [
  {
    name: "synchronous=OFF",
    edits: [{ file: "src/core/database.ts", find: '"synchronous = FULL"', replace: '"synchronous = OFF"' }],
    part: "power",
    rounds: 80,
  },
  {
    name: "an entry deleted before its acknowledgement",
    edits: [
      {
        file: "src/publish/publisher.ts",
        find: "    this.#sending++;\n",
        replace: "    this.#sending++;\n    this.#options.acknowledge(sequence);\n",
      },
    ],
    part: "kills",
    rounds: 28,
  },
  {
    name: "the cursor written in another transaction",
    edits: [
      { file: store, find: writesState, replace: "state.ledger = [...ledger];" },
      {
        file: store,
        find: commits,
        replace: `${commits}\n      this.#disk.stateRow.write(this.#memory.state);`,
      },
    ],
    part: "power",
    rounds: 80,
  },
  {
    name: "the ledger outside the transaction",
    edits: [
      {
        file: store,
        find: "  #process(commit: Transaction): void {",
        replace:
          "  #process(commit: Transaction): void {\n    const before = structuredClone([...this.#memory.ledger]);",
      },
      {
        file: store,
        find: writesState,
        replace: "state.ledger = [...ledger];\n    this.#disk.stateRow.write({ ...state, ledger: before });",
      },
      {
        file: store,
        find: commits,
        replace: `${commits}\n      this.#disk.stateRow.write(this.#memory.state);`,
      },
    ],
    part: "power",
    rounds: 80,
  },
  {
    name: "a snapshot that is not restored",
    edits: [
      {
        file: "src/store/memory.ts",
        find: "if (snapshot) pipeline.restore(snapshot.snapshot);",
        replace: "",
      },
    ],
    part: "power",
    rounds: 80,
  },
  {
    name: "a snapshot that is not written, though the journal is trimmed",
    edits: [
      { file: store, find: "this.#disk.writeSnapshot(state.position, pipeline.snapshot());", replace: "" },
    ],
    part: "power",
    rounds: 80,
  },
  {
    name: "a position that is told before its commit is durable",
    edits: [
      {
        file: store,
        find: commits,
        replace: `this.#disk.witness.write(this.#disk.storeId, this.#memory.state.position);\n      ${commits}`,
      },
    ],
    part: "power",
    rounds: 80,
  },
  {
    name: "a salvaged store that takes its place before it is durable",
    edits: [{ file: "src/store/salvage.ts", find: "  sync(path);\n", replace: "" }],
    part: "power",
    rounds: 160,
  },
  {
    name: "a checksum that nobody looks at",
    edits: [
      {
        file: "src/outbox/checksum.ts",
        find: "row.entry < entriesBelow : row.checksum === entryChecksum(row);",
        replace: "row.entry < entriesBelow : true;",
      },
    ],
    part: "damage",
    rounds: 120,
  },
  {
    name: "a step of the clock that is followed at once",
    edits: [
      {
        file: "src/pipeline.ts",
        find: "const latestMs = hasOwnTime ? this.#time.latestMs(frame.wallMs) : nowMs;",
        replace: "const latestMs = frame.wallMs;",
      },
    ],
    part: "trouble",
    rounds: 1,
  },
  {
    name: "a chip's checksum that nobody looks at",
    edits: [
      { file: "src/drivers/sensirion.ts", find: "!== crc) return", replace: "!== crc && false) return" },
    ],
    part: "decoders",
    rounds: 5,
  },
  {
    name: "a decoder that throws at quotes that do not end",
    edits: [
      {
        file: "src/decode/decoder.ts",
        find: 'if (!cells) return { discard: "malformed" };',
        replace: "",
      },
    ],
    part: "decoders",
    rounds: 5,
  },
  {
    name: "numbers that are not finite",
    edits: [
      {
        file: "src/decode/reading-reader.ts",
        find: "else if (!Number.isFinite(number))",
        replace: "else if (Number.isNaN(number))",
      },
    ],
    part: "decoders",
    rounds: 5,
  },
  {
    name: "a frame's checksum that nobody looks at",
    edits: [
      {
        file: "src/sources/check.ts",
        find: "return told === checksum(frame.subarray(from, at));",
        replace: "return told === checksum(frame.subarray(from, at)) || true;",
      },
    ],
    part: "decoders",
    rounds: 5,
  },
  {
    name: "a byte between packets that is told nowhere",
    edits: [
      { file: "src/sources/packet-framer.ts", find: "this.#skip(held.subarray(at, at + 1));", replace: "" },
    ],
    part: "decoders",
    rounds: 5,
  },
  {
    name: "a telegram that is held beyond its limit",
    edits: [
      {
        file: "src/sources/telegram-framer.ts",
        find: "this.#buffer = new Uint8Array(maxBytes);",
        replace: "this.#buffer = new Uint8Array(2 * maxBytes);",
      },
    ],
    part: "decoders",
    rounds: 5,
  },
];
