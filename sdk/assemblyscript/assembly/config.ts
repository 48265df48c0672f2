/**
 * Settings of the deployed function: the `env` of its version. Using this makes the module import
 * `config_get`, which needs the grant `config_get`.
 */

import * as raw from "./raw";
import { Result, decodeReply } from "./reply";
import { decodeText } from "./text";

/** The value of a setting; null when the version has none of this name. */
export function get(name: string): Result<string | null> {
  const reply = decodeReply(raw.configGet(name));
  const value = reply.value;
  return new Result<string | null>(value === null ? null : decodeText(value), reply.error);
}
