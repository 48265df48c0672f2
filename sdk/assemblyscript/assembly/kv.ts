/**
 * Values that outlive a run, in namespaces of the tenant. A key reads `NAMESPACE/KEY`. Using these
 * makes the module import `kv_get`, `kv_set`, `kv_delete` or `kv_add`, whichever is used, which
 * needs the grant `kv:NAMESPACE`, or `kv:NAMESPACE:read` if it only reads.
 */

import * as raw from "./raw";
import { HostError, Result, decodeReply } from "./reply";

/** The value of a key; null when it has none. */
export function get(key: string): Result<Uint8Array | null> {
  return decodeReply(raw.kvGet(key));
}

/** Sets a key for some seconds, or (0) for good; null when that worked. */
export function set(key: string, value: Uint8Array, ttlSeconds: u32 = 0): HostError | null {
  return decodeReply(raw.kvSet(key, value, ttlSeconds)).error;
}

/** Removes a key, and says whether it was there. */
export function remove(key: string): Result<bool> {
  const reply = decodeReply(raw.kvDelete(key));
  return new Result<bool>(reply.value !== null, reply.error);
}

/**
 * Adds to the whole number of a key, at once for all who do; the value is the new one. It is kept as
 * decimal text, and an absent key counts as 0.
 */
export function add(key: string, delta: i64): Result<i64> {
  const reply = decodeReply(raw.kvAdd(key, delta));
  return new Result<i64>(reply.error === null ? decodeSum(reply.value) : 0, reply.error);
}

function decodeSum(data: Uint8Array | null): i64 {
  assert(data !== null && data.length == 8, "the host's sum has 8 bytes");
  return load<i64>(data!.dataStart);
}
