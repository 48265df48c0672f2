/**
 * How far the run is, for who waits for it. Using this makes the module import `progress`, which
 * needs the grant `progress`.
 */

import * as raw from "./raw";
import { encodeText } from "./text";

const MOST_BYTES = 256;

/** Says how far the run is. A percentage is held to 0 to 100, and a message ends after 256 bytes. */
export function report(percent: i32, message: string): void {
  const bytes = encodeText(message);
  let end = min(bytes.length, MOST_BYTES);
  while (end < bytes.length && (bytes[end] & 0xc0) == 0x80) end--;
  raw.progress(max(0, min(100, percent)), bytes.subarray(0, end));
}
