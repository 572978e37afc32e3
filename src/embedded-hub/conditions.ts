import { RouteSyntaxError, type Token, type TokenReader } from "./route-tokens.ts";

/** What a condition is evaluated over. */
export interface ConditionInput {
  /** Application property. */
  property(name: string): string | undefined;
  /** System property by its name without `$`, in lower case. */
  system(name: string): string | undefined;
  /** The parsed body, or undefined if it is not JSON in UTF-8. */
  body(): unknown;
}

/** undefined is the language's third truth value: a comparison with something that is not there. */
type Value = string | number | boolean | null | undefined;
export type Expression = (input: ConditionInput) => Value;

/** The system properties a condition may name, in lower case. */
const systemNames: ReadonlySet<string> = new Set([
  "messageid",
  "correlationid",
  "userid",
  "to",
  "contenttype",
  "contentencoding",
  "expirytimeutc",
  "creationtimeutc",
  "messageschema",
  "componentname",
  "connectiondeviceid",
  "connectionmoduleid",
  "outputname",
]);

const comparisons: Readonly<Record<string, (order: number) => boolean>> = {
  "=": (order) => order === 0,
  "!=": (order) => order !== 0,
  "<>": (order) => order !== 0,
  "<": (order) => order < 0,
  "<=": (order) => order <= 0,
  ">": (order) => order > 0,
  ">=": (order) => order >= 0,
};

function scalar(value: unknown): Value {
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
      return value;
    default:
      return value === null ? null : undefined;
  }
}

function bodyAt(body: unknown, path: readonly (string | number)[]): unknown {
  let value = body;
  for (const step of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}

/** Values of different types do not compare: the result is undefined, and the route does not match. */
function compare(operator: string, left: Value, right: Value): Value {
  if (left === undefined || right === undefined || typeof left !== typeof right) return undefined;
  if (left === null || right === null) {
    return left !== right ? undefined : comparisons[operator]?.(0);
  }
  return comparisons[operator]?.(left < right ? -1 : left > right ? 1 : 0);
}

/** Reads `WHERE` conditions by precedence: OR, AND, NOT, comparison, `||` and `??`, operand. */
export class ConditionParser {
  readonly #tokens: TokenReader;

  constructor(tokens: TokenReader) {
    this.#tokens = tokens;
  }

  expression(): Expression {
    let left = this.#and();
    while (this.#tokens.takeWord("OR")) {
      const [a, b] = [left, this.#and()];
      left = (input) => {
        const values = [a(input), b(input)];
        return values.includes(true) ? true : values.every((value) => value === false) ? false : undefined;
      };
    }
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.#tokens.takeWord("AND")) {
      const [a, b] = [left, this.#not()];
      left = (input) => {
        const values = [a(input), b(input)];
        return values.includes(false) ? false : values.every((value) => value === true) ? true : undefined;
      };
    }
    return left;
  }

  #not(): Expression {
    if (!this.#tokens.takeWord("NOT")) return this.#comparison();
    const operand = this.#not();
    return (input) => {
      const value = operand(input);
      return typeof value === "boolean" ? !value : undefined;
    };
  }

  #comparison(): Expression {
    const left = this.#concatenation();
    const token = this.#tokens.peek();
    if (token?.kind !== "operator" || !Object.hasOwn(comparisons, token.text)) return left;
    this.#tokens.next();
    const right = this.#concatenation();
    return (input) => compare(token.text, left(input), right(input));
  }

  #concatenation(): Expression {
    let left = this.#operand();
    for (;;) {
      const token = this.#tokens.peek();
      if (token?.kind !== "operator" || (token.text !== "||" && token.text !== "??")) return left;
      this.#tokens.next();
      const [a, b] = [left, this.#operand()];
      left =
        token.text === "??"
          ? (input) => a(input) ?? b(input)
          : (input) => {
              const [first, second] = [a(input), b(input)];
              return typeof first === "string" && typeof second === "string" ? first + second : undefined;
            };
    }
  }

  #operand(): Expression {
    const token = this.#tokens.next();
    switch (token.kind) {
      case "string":
      case "number":
        return () => token.value;
      case "system":
        return this.#systemOperand(token);
      case "word":
        return this.#wordOperand(token);
      case "operator":
        if (token.text === "(") {
          const inner = this.expression();
          this.#tokens.expectOperator(")");
          return inner;
        }
        throw new RouteSyntaxError(`"${token.text}" where an operand was expected`, token.at);
      default:
        throw new RouteSyntaxError(`"${token.text}" where an operand was expected`, token.at);
    }
  }

  #wordOperand(token: Token): Expression {
    const upper = token.text.toUpperCase();
    if (upper === "TRUE") return () => true;
    if (upper === "FALSE") return () => false;
    if (upper === "NULL" || upper === "UNDEFINED") return () => (upper === "NULL" ? null : undefined);
    if (this.#tokens.takeOperator("(")) {
      if (upper !== "IS_DEFINED") {
        throw new RouteSyntaxError(
          `the function ${token.text} is not supported; only IS_DEFINED is`,
          token.at,
        );
      }
      const operand = this.#operand();
      this.#tokens.expectOperator(")");
      return (input) => operand(input) !== undefined;
    }
    return (input) => input.property(token.text);
  }

  #systemOperand(token: Token): Expression {
    const [name = "", ...path] = token.path ?? [];
    if (name === "body") {
      if (path.length === 0)
        throw new RouteSyntaxError("$body needs a path, as in $body.temperature", token.at);
      return (input) => scalar(bodyAt(input.body(), path));
    }
    const lower = String(name).toLowerCase();
    if (path.length > 0 || !systemNames.has(lower)) {
      throw new RouteSyntaxError(`the system property "${token.text}" is not supported`, token.at);
    }
    return (input) => input.system(lower);
  }
}
