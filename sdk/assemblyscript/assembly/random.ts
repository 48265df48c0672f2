/** Randomness fit for keys. Using this makes the module import `random`, which needs the grant `random`. */

import * as raw from "./raw";

/** What one host call fills at most. */
const MOST_BYTES = 65536;

/** Fills an array of any size. */
export function fill(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += MOST_BYTES) {
    raw.random(bytes.dataStart + at, min(MOST_BYTES, bytes.length - at));
  }
}

/** A number, each as likely as any other. */
export function number(): u64 {
  const bytes = new Uint8Array(8);
  fill(bytes);
  return load<u64>(bytes.dataStart);
}
