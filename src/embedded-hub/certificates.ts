import { generate } from "selfsigned";

const dayMs = 86_400_000;

export interface ServerCertificate {
  readonly caPem: string;
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  /** Another one of the same authority, valid for so long; certificates count in whole seconds. */
  readonly renewed: (validMs: number) => Promise<ServerCertificate>;
}

/**
 * A certificate authority made for this run and one server certificate of it.
 * Valid from an hour ago, because the clock of the client may be behind, for `validDays`.
 */
export async function createServerCertificate(
  hostNames: readonly string[],
  addresses: readonly string[],
  validDays = 825,
): Promise<ServerCertificate> {
  const notBeforeDate = new Date(Date.now() - 3_600_000);
  const notAfterDate = new Date(Date.now() + validDays * dayMs);
  const common = { keyType: "ec", curve: "P-256", algorithm: "sha256", notBeforeDate, notAfterDate } as const;
  const authority = await generate([{ name: "commonName", value: "Embedded hub test CA" }], {
    ...common,
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  const issue = async (end: Date): Promise<ServerCertificate> => {
    const { cert, private: key } = await serverCertificate(end);
    const renewed = (validMs: number) => issue(new Date(Date.now() + validMs));
    return { caPem: authority.cert, certificatePem: cert, privateKeyPem: key, renewed };
  };
  const serverCertificate = (end: Date) =>
    generate([{ name: "commonName", value: hostNames[0] ?? "localhost" }], {
      ...common,
      notAfterDate: end,
      ca: { key: authority.private, cert: authority.cert },
      extensions: [
        { name: "basicConstraints", cA: false, critical: true },
        { name: "keyUsage", digitalSignature: true, critical: true },
        { name: "extKeyUsage", serverAuth: true },
        {
          name: "subjectAltName",
          altNames: [
            ...hostNames.map((value) => ({ type: 2 as const, value })),
            ...addresses.map((ip) => ({ type: 7 as const, ip })),
          ],
        },
      ],
    });
  return issue(notAfterDate);
}
