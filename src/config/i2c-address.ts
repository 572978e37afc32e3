import { i2cDriverNamed } from "../drivers/catalogue.ts";
import type { I2cSourceConfig } from "./schema.ts";

/**
 * The 7-bit address of a source's chip: as configured, in either spelling, or the usual one of its driver; the schema
 * asks for one where the driver has none.
 */
export function addressOf({ driver, address }: Pick<I2cSourceConfig, "driver" | "address">): number {
  if (address === undefined) {
    const { addresses } = i2cDriverNamed(driver);
    return addresses === "any" ? 0 : (addresses[0] ?? 0);
  }
  return typeof address === "number" ? address : Number.parseInt(address, 16);
}

/** As datasheets write it: `0x76`. */
export const hexOf = (address: number): string => `0x${address.toString(16).padStart(2, "0")}`;
