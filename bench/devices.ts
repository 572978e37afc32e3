import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { within } from "../test/faults/running-daemon.ts";
import type { Children } from "../test/faults/soak/children.ts";
import type { GeneratorOrder, GeneratorProgress } from "./processes/generator.ts";

/** A process of the benchmark that answers each message with one. */
export class Answering<Answer> {
  readonly #child: ChildProcess;
  #heard: (answer: Answer) => void = () => undefined;

  constructor(name: string, args: readonly string[], children: Children) {
    const file = fileURLToPath(new URL(`./processes/${name}.ts`, import.meta.url));
    this.#child = fork(file, args, { execArgv: ["--disable-warning=ExperimentalWarning"] });
    children.add(this.#child);
    this.#child.on("message", (answer) => this.#heard(answer as Answer));
  }

  tell(message: object | string): void {
    this.#child.send(message);
  }

  ask(message: string): Promise<Answer> {
    const answer = new Promise<Answer>((resolve) => {
      this.#heard = resolve;
    });
    this.#child.send(message);
    return within(answer, `a process of the benchmark answers "${message}"`);
  }

  end(): void {
    if (this.#child.connected) this.#child.disconnect();
  }
}

/** The devices' process; it sends from its start on, and over a serial line when somebody listens. */
export class Devices {
  readonly #process: Answering<GeneratorProgress>;

  constructor(order: GeneratorOrder, children: Children) {
    this.#process = new Answering("generator", [], children);
    this.#process.tell(order);
  }

  progress(): Promise<GeneratorProgress> {
    return this.#process.ask("tell");
  }

  /** Resolves with the last word, when the broker has answered everything. */
  stop(): Promise<GeneratorProgress> {
    return this.#process.ask("stop");
  }
}
