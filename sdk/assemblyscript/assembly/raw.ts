/** The border: every raw import and export, and all pointer arithmetic of this package. */

import { Answer, encodeAnswer } from "./answer";
import { encodeText } from "./text";

// Only those that are used are imported.
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "log")
declare function hostLog(level: i32, text: usize, length: i32): void;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "config_get")
declare function hostConfigGet(name: usize, length: i32): u64;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "now_ms")
declare function hostNowMs(): i64;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "random")
declare function hostRandom(buffer: usize, length: i32): void;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "emit")
declare function hostEmit(name: usize, nameLength: i32, data: usize, length: i32): void;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "progress")
declare function hostProgress(percent: i32, message: usize, length: i32): void;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "span_open")
declare function hostSpanOpen(name: usize, length: i32): i32;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "span_close")
declare function hostSpanClose(number: i32): void;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "span_attribute")
declare function hostSpanAttribute(number: i32, name: usize, nameLength: i32, value: usize, length: i32): void;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "secret_get")
declare function hostSecretGet(name: usize, length: i32): u64;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "kv_get")
declare function hostKvGet(key: usize, length: i32): u64;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "kv_set")
declare function hostKvSet(key: usize, keyLength: i32, value: usize, length: i32, ttlSeconds: u32): u64;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "kv_delete")
declare function hostKvDelete(key: usize, length: i32): u64;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "kv_add")
declare function hostKvAdd(key: usize, length: i32, delta: i64): u64;
// @ts-ignore: a decorator of AssemblyScript's
@external("stockade:v1", "http_fetch")
declare function hostHttpFetch(request: usize, length: i32): u64;

/** Memory for the host to write an input or a reply into. */
export function stockade_v1_alloc(size: i32): usize {
  return heap.alloc(size);
}

/** Runs a task on the input at an address and returns its packed response frame. */
export function respond(pointer: usize, length: i32, run: (input: Uint8Array) => Answer): u64 {
  const frame = encodeAnswer(run(take(pointer, length)));
  return ((<u64>frame.dataStart) << 32) | (<u64>frame.length);
}

export function log(level: i32, message: string): void {
  const bytes = encodeText(message);
  hostLog(level, bytes.dataStart, bytes.length);
}

export function configGet(name: string): Uint8Array {
  const bytes = encodeText(name);
  return takeReply(hostConfigGet(bytes.dataStart, bytes.length));
}

export function nowMs(): i64 {
  return hostNowMs();
}

export function random(pointer: usize, length: i32): void {
  hostRandom(pointer, length);
}

export function emit(name: string, data: string): void {
  const bytes = encodeText(name);
  const content = encodeText(data);
  hostEmit(bytes.dataStart, bytes.length, content.dataStart, content.length);
}

export function progress(percent: i32, message: Uint8Array): void {
  hostProgress(percent, message.dataStart, message.length);
}

export function spanOpen(name: string): i32 {
  const bytes = encodeText(name);
  return hostSpanOpen(bytes.dataStart, bytes.length);
}

export function spanClose(number: i32): void {
  hostSpanClose(number);
}

export function spanAttribute(number: i32, name: string, value: Uint8Array): void {
  const bytes = encodeText(name);
  hostSpanAttribute(number, bytes.dataStart, bytes.length, value.dataStart, value.length);
}

export function secretGet(name: string): Uint8Array {
  const bytes = encodeText(name);
  return takeReply(hostSecretGet(bytes.dataStart, bytes.length));
}

export function kvGet(key: string): Uint8Array {
  const bytes = encodeText(key);
  return takeReply(hostKvGet(bytes.dataStart, bytes.length));
}

export function kvSet(key: string, value: Uint8Array, ttlSeconds: u32): Uint8Array {
  const bytes = encodeText(key);
  return takeReply(hostKvSet(bytes.dataStart, bytes.length, value.dataStart, value.length, ttlSeconds));
}

export function kvDelete(key: string): Uint8Array {
  const bytes = encodeText(key);
  return takeReply(hostKvDelete(bytes.dataStart, bytes.length));
}

export function kvAdd(key: string, delta: i64): Uint8Array {
  const bytes = encodeText(key);
  return takeReply(hostKvAdd(bytes.dataStart, bytes.length, delta));
}

export function httpFetch(request: Uint8Array): Uint8Array {
  return takeReply(hostHttpFetch(request.dataStart, request.length));
}

/** The bytes of a reply, whose place the host has packed. */
function takeReply(packed: u64): Uint8Array {
  return take(<usize>(packed >> 32), <i32>(packed & 0xffffffff));
}

/** What the host wrote into an allocation, as an array of ours. */
function take(pointer: usize, length: i32): Uint8Array {
  const bytes = new Uint8Array(length);
  memory.copy(bytes.dataStart, pointer, length);
  heap.free(pointer);
  return bytes;
}
