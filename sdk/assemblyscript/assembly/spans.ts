/**
 * Steps of the run, as spans of its trace. Using this makes the module import `span_open`, `span_close`
 * and `span_attribute`, which need no grant. The host notes when; nothing of it comes back.
 */

import * as raw from "./raw";
import { encodeText } from "./text";

const MOST_BYTES = 256;

/** A step under way; what is opened within it ends with it. */
export class Span {
  constructor(private number: i32) {}

  /**
   * Says something about the step; the last word on a name stands. A value ends after 256 bytes, and
   * what finds no room is dropped. A name that is empty or longer than 64 bytes is a defect, and traps.
   */
  attribute(name: string, value: string): void {
    const bytes = encodeText(value);
    let end = min(bytes.length, MOST_BYTES);
    while (end < bytes.length && (bytes[end] & 0xc0) == 0x80) end--;
    raw.spanAttribute(this.number, name, bytes.subarray(0, end));
  }

  /** Ends the step; twice is no harm. */
  close(): void {
    raw.spanClose(this.number);
  }
}

/**
 * Opens a step within the innermost one that is open. Where there is no room it is not recorded. A name
 * that is empty or longer than 64 bytes is a defect, and traps.
 */
export function open(name: string): Span {
  return new Span(raw.spanOpen(name));
}
