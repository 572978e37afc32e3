import { describe, expect, test } from "vitest";
import { connectRaw, RawModule, until } from "./clients.ts";
import { controlledHub } from "./controlled-hub.ts";

const { hub, call } = await controlledHub();

describe("identities", () => {
  test("create, read, list, update, delete a device", async () => {
    const created = await call("PUT", "/devices/d%201?api-version=2021-04-12", { deviceId: "d 1" });
    expect(created.status).toBe(400);
    const device = await call("PUT", "/devices/dev-1", {
      deviceId: "dev-1",
      authentication: { type: "sas", symmetricKey: { primaryKey: "", secondaryKey: "" } },
      capabilities: { iotEdge: true },
    });
    expect(device).toMatchObject({
      status: 200,
      body: {
        deviceId: "dev-1",
        etag: "AAAAAAAAAAE=",
        status: "enabled",
        connectionState: "Disconnected",
        capabilities: { iotEdge: true },
        authentication: { type: "sas" },
      },
    });
    expect(Buffer.from(device.body.authentication.symmetricKey.primaryKey, "base64")).toHaveLength(32);
    expect(device.headers.get("etag")).toBe('"AAAAAAAAAAE="');

    expect(await call("PUT", "/devices/dev-1", {})).toMatchObject({
      status: 409,
      body: { Message: expect.stringMatching(/^ErrorCode:DeviceAlreadyExists;/) },
    });
    const stale = await call(
      "PUT",
      "/devices/dev-1",
      { status: "disabled" },
      { "if-match": '"AAAAAAAAAAk="' },
    );
    expect(stale).toMatchObject({
      status: 412,
      body: { Message: expect.stringContaining("PreconditionFailed") },
    });
    const updated = await call(
      "PUT",
      "/devices/dev-1",
      { status: "disabled" },
      { "if-match": '"AAAAAAAAAAE="' },
    );
    expect(updated.body).toMatchObject({
      status: "disabled",
      etag: "AAAAAAAAAAI=",
      authentication: device.body.authentication,
    });
    expect((await call("PUT", "/devices/nobody", {}, { "if-match": "*" })).status).toBe(404);
    expect(
      (await call("GET", "/devices/")).body.map(({ deviceId }: { deviceId: string }) => deviceId),
    ).toEqual(["edge", "dev-1"]);
    expect((await call("DELETE", "/devices/dev-1", undefined, { "if-match": '"AAAAAAAAAAE="' })).status).toBe(
      412,
    );
    expect(await call("DELETE", "/devices/dev-1", undefined, { "if-match": "*" })).toMatchObject({
      status: 204,
      body: undefined,
    });
    expect(await call("GET", "/devices/dev-1")).toMatchObject({
      status: 404,
      body: {
        Message: expect.stringMatching(/^ErrorCode:DeviceNotFound;/),
        ExceptionMessage: expect.any(String),
      },
    });
  });

  test("modules live with their device", async () => {
    await call("PUT", "/devices/dev-2", {});
    expect((await call("PUT", "/devices/dev-2/modules/m", { moduleId: "m", deviceId: "dev-2" })).status).toBe(
      201,
    );
    expect((await call("PUT", "/devices/dev-2/modules/m", {})).body.Message).toContain(
      "ModuleAlreadyExistsOnDevice",
    );
    expect((await call("PUT", "/devices/none/modules/m", {})).status).toBe(404);
    expect((await call("GET", "/devices/dev-2/modules")).body).toMatchObject([
      { moduleId: "m", deviceId: "dev-2" },
    ]);
    expect((await call("GET", "/devices/dev-2/modules/x")).body.Message).toContain("ModuleNotFound");
    expect((await call("GET", "/twins/dev-2/modules/m")).status).toBe(200);
    await call("DELETE", "/devices/dev-2");
    expect((await call("GET", "/twins/dev-2/modules/m")).status).toBe(404);
  });

  test.each([
    ["a name in the body that is not the path's", { deviceId: "other" }],
    ["certificates", { authentication: { type: "selfSigned" } }],
    ["a key that is not base64", { authentication: { symmetricKey: { primaryKey: "?" } } }],
    ["a key of five bytes", { authentication: { symmetricKey: { primaryKey: "aGVsbG8=" } } }],
    ["an unknown status", { status: "resting" }],
  ])("%s: 400", async (_name, body) => {
    expect(await call("PUT", "/devices/dev-3", body)).toMatchObject({
      status: 400,
      body: { Message: expect.stringMatching(/^ErrorCode:ArgumentInvalid;/) },
    });
  });
});

describe("twins", () => {
  const path = "/twins/edge/modules/gateway";

  test("PATCH merges, PUT replaces, the etag guards", async () => {
    const before = await call("GET", path);
    expect(before.body).toMatchObject({
      deviceId: "edge",
      moduleId: "gateway",
      tags: {},
      properties: { desired: { $version: 1 }, reported: { $version: 1 } },
    });
    const first = { tags: { site: "x" }, properties: { desired: { a: 1, o: { b: 2, c: 3 } } } };
    const ifMatch = { "if-match": `"${before.body.etag}"` };
    const patched = await call("PATCH", path, first, ifMatch);
    expect(patched).toMatchObject({ status: 200, body: { properties: { desired: { a: 1, $version: 2 } } } });
    expect((await call("PATCH", path, first, ifMatch)).status).toBe(412);
    await call("PATCH", path, { properties: { desired: { a: null, o: { b: null } } } });
    expect(hub.getTwin("edge", "gateway").desired).toEqual({ o: { c: 3 }, $version: 3 });
    const { body } = await call("GET", path);
    body.properties.desired = { fresh: [1], $version: 99, $metadata: {} };
    await call("PUT", path, body);
    expect(hub.getTwin("edge", "gateway")).toMatchObject({
      desired: { fresh: [1], $version: 4 },
      tags: { site: "x" },
    });
  });

  test("a replaced twin reaches the module as the difference", async () => {
    const raw = new RawModule(await connectRaw(hub, "edge", "gateway"));
    hub.replaceDesired("edge", "gateway", { keep: 1, gone: 2, o: { x: 1, y: 2 } });
    hub.replaceDesired("edge", "gateway", { keep: 1, o: { y: 3 } });
    const { desired } = hub.getTwin("edge", "gateway");
    const last = await until(
      () => raw.received.find(({ payload }) => payload.includes(`"$version":${desired.$version}`)),
      "the patch",
    );
    expect(JSON.parse(last.payload)).toEqual({
      gone: null,
      o: { x: null, y: 3 },
      $version: desired.$version,
    });
    raw.client.end(true);
  });

  test.each([
    ["a name with a dollar", { properties: { desired: { $x: 1 } } }],
    ["a null in an array", { properties: { desired: { a: [null] } } }],
    ["an array for desired", { properties: { desired: [] } }],
    ["a number", 5],
    ["nothing", undefined],
    [
      "more than 32 KB",
      {
        properties: {
          desired: Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`k${i}`, "x".repeat(4_000)])),
        },
      },
    ],
    ["tags of more than 8 KB", { tags: { a: "x".repeat(4_096), b: "x".repeat(4_096) } }],
  ])("%s: 400, and nothing changes", async (_name, body) => {
    const before = hub.getTwin("edge", "gateway");
    expect((await call("PATCH", path, body)).status).toBe(400);
    expect(hub.getTwin("edge", "gateway")).toEqual(before);
  });

  test("a device that is not there: 404", async () => {
    expect((await call("GET", "/twins/nobody")).status).toBe(404);
    expect((await call("PATCH", "/twins/edge/modules/nobody", {})).status).toBe(404);
  });
});
