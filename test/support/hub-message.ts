import type { HubMessage } from "../../src/hub/hub-client.ts";

/** What most messages say of themselves. */
export const plain = {
  contentType: "application/json",
  contentEncoding: "utf-8",
  properties: {},
} as const satisfies Partial<HubMessage>;
