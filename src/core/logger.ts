/** The part of pino's logger that stages use; made by `observe/log.ts`. */
export interface Logger {
  debug(object: object, message: string): void;
  info(object: object, message: string): void;
  warn(object: object, message: string): void;
  error(object: object, message: string): void;
  child(bindings: object): Logger;
}
