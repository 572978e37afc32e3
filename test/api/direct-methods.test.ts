/** Direct methods whose answers are not the view; the daemon's own are in `gateway-hub-source.test.ts`. */
import { expect, test } from "vitest";
import { directMethods } from "../../src/api/direct-methods.ts";
import { callFromHub } from "../../src/hub/calls-from-hub.ts";

const views = {
  status: () => ({ text: "x".repeat(128_000) }),
  ledger: () => ({ text: "é".repeat(60_000) }),
  deadLetters: () => Promise.reject(new Error("the store is closed")),
};

const nothing = { answer: () => Promise.reject(new Error("nobody writes")) };
const noPictures = () => Promise.reject(new Error("nobody takes or sends pictures"));
const noCamera = { take: noPictures, list: noPictures, upload: noPictures };

test("an answer beyond a direct method's bound is refused, not cut", async () => {
  const method = directMethods(views, nothing, noCamera);
  expect(await method("getLedger", null)).toEqual({ status: 200, payload: views.ledger() });
  expect(await method("getStatus", null)).toMatchObject({
    status: 413,
    payload: { message: expect.stringContaining("128011 bytes") },
  });
});

test("a view that fails, and a method of no name, are answered", async () => {
  const method = directMethods(views, nothing, noCamera);
  const answers: string[] = [];
  const call = { kind: "method", name: "getDeadLetters", requestId: "7" } as const;
  const events = { lost: () => undefined, desired: () => undefined, method };
  await callFromHub(call, Buffer.from("null"), events, (...answer) => answers.push(...answer), true);
  expect(answers).toEqual(["$iothub/methods/res/500/?$rid=7", `{"message":"the store is closed"}`]);
  for (const name of ["toString", "constructor", ""])
    expect(await method(name, null)).toMatchObject({ status: 404 });
});
