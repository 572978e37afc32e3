/** Traps of the Azure SDK that the contract does not show, against the embedded hub. */
import { describe, expect, test } from "vitest";
import { TransientError } from "../../src/core/errors.ts";
import { until } from "../support/until.ts";
import { bench, outcomeOf } from "./subjects.ts";

const lab = bench();
const token = { validMs: 4_000, marginMs: 2_000 };

test("a session that the hub forgot before a token renewal is told as lost: the SDK would not subscribe again", async () => {
  const { client, lost } = lab.subject("sdk", "edge", { token });
  await client.connect();
  await client.twin.subscribe();
  lab.hub.forgetSessions();
  await until("the loss is told", () => lost.length > 0);
  expect(lost[0]?.message).toContain("forgot the session");
});

describe("an Azure client of the workload API", () => {
  test("signing that fails during a renewal is told as lost and does not end the process", async () => {
    const { client, lost } = lab.subject("sdk", "edge", { token });
    await client.connect();
    lab.hub.setFault("signFails");
    await until("the loss is told", () => lost.length > 0);
    expect(lost[0]?.message).toContain("renewing the token");
  });

  test("a trust bundle that the SDK cannot read is a failure that can be repeated", async () => {
    const { client } = lab.subject("sdk", "edge");
    lab.hub.setFault("trustBundleNoContentType");
    expect(await outcomeOf(client.connect())).toBeInstanceOf(TransientError);
  });
});
