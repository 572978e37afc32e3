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
        find: "await this.#deliver(message);",
        replace: "acknowledge(message.sequence);\n        await this.#deliver(message);",
      },
    ],
    part: "kills",
    rounds: 28,
  },
  {
    name: "the cursor written in another transaction",
    edits: [
      { file: store, find: "this.#stateRow.write(state);", replace: "" },
      {
        file: store,
        find: 'this.#database.exec("COMMIT");',
        replace: 'this.#database.exec("COMMIT");\n      this.#stateRow.write(this.#state);',
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
        find: "  #process(commit: Commit): void {",
        replace: "  #process(commit: Commit): void {\n    const before = structuredClone([...this.#ledger]);",
      },
      {
        file: store,
        find: "this.#stateRow.write(state);",
        replace: "this.#stateRow.write({ ...state, ledger: before });",
      },
      {
        file: store,
        find: 'this.#database.exec("COMMIT");',
        replace: 'this.#database.exec("COMMIT");\n      this.#stateRow.write(this.#state);',
      },
    ],
    part: "power",
    rounds: 80,
  },
  {
    name: "a snapshot that is not restored",
    edits: [{ file: store, find: "this.#pipeline.restore(", replace: "void (" }],
    part: "power",
    rounds: 80,
  },
  {
    name: "a snapshot that is not written, though the journal is trimmed",
    edits: [{ file: store, find: "this.#writeSnapshot.run(", replace: "void (" }],
    part: "power",
    rounds: 80,
  },
];
