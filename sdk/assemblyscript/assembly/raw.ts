/** The border: every raw import and export, and all pointer arithmetic of this package. */

import { Answer, encodeAnswer } from "./answer";

// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "log")
declare function hostLog(level: i32, pointer: usize, length: i32): void;

/** Memory for the host to write into. It is never freed: the instance ends with the run. */
export function stockade_v1_alloc(size: i32): usize {
  return heap.alloc(size);
}

/** Runs a task on the input at an address and returns its packed response frame. */
export function respond(pointer: usize, length: i32, run: (input: Uint8Array) => Answer): u64 {
  const input = new Uint8Array(length);
  memory.copy(input.dataStart, pointer, length);
  heap.free(pointer);
  const frame = encodeAnswer(run(input));
  return ((<u64>frame.dataStart) << 32) | (<u64>frame.length);
}

/** Hands a line to the host. */
export function writeLog(level: i32, message: string): void {
  const bytes = String.UTF8.encode(message, false, String.UTF8.ErrorMode.REPLACE);
  hostLog(level, changetype<usize>(bytes), bytes.byteLength);
}
