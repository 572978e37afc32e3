/** A route that cannot be read, or that asks for something this hub does not do. */
export class RouteSyntaxError extends Error {
  override readonly name = "RouteSyntaxError";
  /** Offset in the route's text, from 0. */
  readonly at: number;
  constructor(message: string, at: number) {
    super(`${message} (at character ${at + 1})`);
    this.at = at;
  }
}

export interface Token {
  readonly kind: "word" | "string" | "number" | "operator" | "path" | "system";
  readonly text: string;
  readonly at: number;
  /** Of a string or a number. */
  readonly value?: string | number;
  /** Of `$name.step[0]`, `{$name}`. */
  readonly path?: readonly (string | number)[];
}

const patterns: readonly (readonly [kind: Token["kind"] | "space", pattern: RegExp])[] = [
  ["space", /\s+/y],
  ["path", /\/[^\s"]*/y],
  ["string", /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/y],
  ["system", /\{\$[A-Za-z_-]+\}|\$[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*|\[\d+\])*/y],
  ["number", /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y],
  ["word", /[A-Za-z_][\w.-]*/y],
  ["operator", /\|\||\?\?|<>|!=|<=|>=|[=<>()]/y],
];

function token(kind: Token["kind"], text: string, at: number): Token {
  switch (kind) {
    case "string":
      return { kind, text, at, value: text.slice(1, -1).replace(/\\(.)/gs, "$1") };
    case "number":
      return { kind, text, at, value: Number(text) };
    case "system": {
      const name = text.replace(/^\{?\$|\}$/g, "");
      const path = name.split(/[.[\]]+/).filter((step) => step !== "");
      return { kind, text, at, path: path.map((step) => (/^\d+$/.test(step) ? Number(step) : step)) };
    }
    default:
      return { kind, text, at };
  }
}

/** @throws RouteSyntaxError */
export function tokenize(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    let matched: string | undefined;
    for (const [kind, pattern] of patterns) {
      pattern.lastIndex = at;
      matched = pattern.exec(text)?.[0];
      if (matched === undefined) continue;
      if (kind !== "space") tokens.push(token(kind, matched, at));
      at += matched.length;
      break;
    }
    if (matched === undefined) throw new RouteSyntaxError(`unexpected "${text[at]}"`, at);
  }
  return tokens;
}

export class TokenReader {
  readonly #tokens: readonly Token[];
  readonly #length: number;
  #index = 0;

  constructor(text: string) {
    this.#tokens = tokenize(text);
    this.#length = text.length;
  }

  peek(): Token | undefined {
    return this.#tokens[this.#index];
  }

  next(): Token {
    const next = this.#tokens[this.#index++];
    if (next === undefined) throw new RouteSyntaxError("the route ends too early", this.#length);
    return next;
  }

  /** Keywords are the same in any case. */
  takeWord(word: string): boolean {
    const token = this.peek();
    const taken = token?.kind === "word" && token.text.toUpperCase() === word;
    if (taken) this.#index++;
    return taken;
  }

  takeOperator(text: string): boolean {
    const token = this.peek();
    const taken = token?.kind === "operator" && token.text === text;
    if (taken) this.#index++;
    return taken;
  }

  expectWord(word: string): void {
    const token = this.peek();
    if (!this.takeWord(word)) throw new RouteSyntaxError(`${word} was expected`, token?.at ?? this.#length);
  }

  expectOperator(text: string): void {
    const token = this.peek();
    if (!this.takeOperator(text))
      throw new RouteSyntaxError(`"${text}" was expected`, token?.at ?? this.#length);
  }

  expectEnd(): void {
    const token = this.peek();
    if (token !== undefined)
      throw new RouteSyntaxError(`"${token.text}" after the end of the route`, token.at);
  }
}
