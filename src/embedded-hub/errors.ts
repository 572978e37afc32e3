/** A request to the hub that it refuses, with the HTTP status and the code the service API gives it. */
export class HubRequestError extends Error {
  override readonly name = "HubRequestError";
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}
