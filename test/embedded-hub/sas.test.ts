import common from "azure-iot-common";
import { describe, expect, test } from "vitest";
import { createSas, parseSas, verifySas } from "../../src/embedded-hub/sas.ts";

const key = Buffer.from("a key of at least sixteen bytes").toString("base64");
const resource = "hub.example/devices/edge/modules/a!b(c)";
const nowMs = 1_700_000_000_500;
const validUntilS = 1_700_000_600;

const sdkToken = common.SharedAccessSignature.create(
  common.encodeUriComponentStrict(resource),
  "",
  key,
  validUntilS,
).toString();

function verify(token: string, keys: readonly string[] = [key]) {
  return verifySas(token, [resource], keys, nowMs);
}

describe("tokens", () => {
  test("a token made by the Azure SDK is accepted", () => {
    expect(sdkToken).toContain("sr=hub.example%2Fdevices%2Fedge%2Fmodules%2Fa%21b%28c%29&");
    expect(verify(sdkToken)).toEqual({ ok: true, expiresAtMs: validUntilS * 1000 });
  });

  test("our own token is that of the SDK but for the policy name", () => {
    const own = parseSas(createSas(resource, key, validUntilS * 1000));
    const sdk = parseSas(sdkToken);
    expect(own).toEqual({ ...sdk, policy: undefined });
  });

  test("the order of the fields does not matter", () => {
    const fields = sdkToken.slice("SharedAccessSignature ".length).split("&");
    expect(verify(`SharedAccessSignature ${[...fields].reverse().join("&")}`).ok).toBe(true);
  });

  test("an unencoded resource is accepted when that is what was signed", () => {
    const plain = "hub.example/devices/edge";
    const token = common.SharedAccessSignature.create(plain, "", key, validUntilS).toString();
    expect(token).toContain("sr=hub.example/devices/edge&");
    expect(verifySas(token, [plain], [key], nowMs).ok).toBe(true);
  });

  test("either key will do", () => {
    const other = Buffer.alloc(32, 7).toString("base64");
    expect(verify(sdkToken, [other, key]).ok).toBe(true);
    expect(verify(sdkToken, [other])).toEqual({ ok: false, reason: "wrongSignature" });
  });

  test("the expiry has to lie in the future", () => {
    expect(verifySas(sdkToken, [resource], [key], validUntilS * 1000 - 1)).toMatchObject({ ok: true });
    expect(verifySas(sdkToken, [resource], [key], validUntilS * 1000)).toEqual({
      ok: false,
      reason: "expired",
    });
  });

  test("another resource is refused even with a good signature", () => {
    expect(verifySas(sdkToken, ["hub.example/devices/edge"], [key], nowMs)).toEqual({
      ok: false,
      reason: "wrongResource",
    });
  });

  test("a changed expiry or signature is refused", () => {
    const later = sdkToken.replace(`se=${validUntilS}`, `se=${validUntilS + 1}`);
    expect(later).not.toBe(sdkToken);
    expect(verify(later)).toEqual({ ok: false, reason: "wrongSignature" });
    expect(verify(sdkToken.replace(/sig=[^&]+/, "sig=AAAA"))).toEqual({
      ok: false,
      reason: "wrongSignature",
    });
  });

  test.each([
    ["nothing", ""],
    ["another scheme", sdkToken.replace("SharedAccessSignature ", "Bearer ")],
    ["no expiry", sdkToken.replace(/&se=\d+/, "")],
    ["an expiry that is no number", sdkToken.replace(/se=\d+/, "se=soon")],
    ["a field twice", `${sdkToken}&se=${validUntilS}`],
    ["broken percent encoding", sdkToken.replace(/sig=[^&]+/, "sig=%zz")],
  ])("%s is malformed", (_name, token) => {
    expect(verify(token)).toEqual({ ok: false, reason: "malformed" });
  });
});
