/**
 * Secrets of the tenant, which stand in no record and no log. Using this makes the module import
 * `secret_get`, which needs the grant `secret:NAME` for each.
 */

import * as raw from "./raw";
import { Result, decodeReply } from "./reply";

/** The value of a secret; null when the tenant has none of this name. */
export function get(name: string): Result<Uint8Array | null> {
  return decodeReply(raw.secretGet(name));
}
