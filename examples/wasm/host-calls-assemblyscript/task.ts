/** Makes the host calls that its input asks for, one a line, and tells what came of each. */

import {
  Answer,
  HostError,
  clock,
  config,
  decodeText,
  encodeText,
  events,
  http,
  kv,
  log,
  progress,
  random,
  respond,
  secrets,
  spans,
} from "stockade-guest";

export { stockade_v1_alloc } from "stockade-guest";

export function stockade_v1_run(pointer: usize, length: i32): u64 {
  return respond(pointer, length, run);
}

const MOST_RANDOM_BYTES: i64 = 100000;
const DIGITS = "0123456789abcdef";

/** What is wrong with the input; the first problem counts. */
let problem = "";

function run(input: Uint8Array): Answer {
  const text = decodeText(input);
  if (text === null) return Answer.reject("the input is not UTF-8");
  const lines = (text.endsWith("\n") ? text.substring(0, text.length - 1) : text).split("\n");
  const told: string[] = [];
  for (let index = 0; index < lines.length && problem == ""; index++) {
    const line = splitWords(lines[index], 2);
    told.push(`${line[0]}: ${call(line[0], line.length > 1 ? line[1] : "")}\n`);
  }
  return problem == "" ? Answer.text(told.join("")) : Answer.reject(problem);
}

function call(name: string, rest: string): string {
  if (name == "log") return writeLog(words(rest, 2));
  if (name == "config_get") return getConfig(rest);
  if (name == "now_ms") return clock.nowMs().toString();
  if (name == "random") return showRandom(number(rest));
  if (name == "emit") return emit(words(rest, 2));
  if (name == "progress") return report(words(rest, 2));
  if (name == "span") return record(words(rest, 3));
  if (name == "secret_get") return measureSecret(rest);
  if (name == "http_fetch") return fetch(splitWords(rest, 4));
  return callStore(name, rest);
}

function callStore(name: string, rest: string): string {
  if (name == "kv_get") return getValue(rest);
  if (name == "kv_set") return setValue(words(rest, 3));
  if (name == "kv_delete") return removeValue(rest);
  if (name == "kv_add") return addValue(words(rest, 2));
  return fail("there is no such host call; name one a line");
}

function writeLog(parts: string[]): string {
  const level = parts[0];
  const message = parts[1];
  if (level == "trace") log.trace(message);
  else if (level == "debug") log.debug(message);
  else if (level == "info") log.info(message);
  else if (level == "warn") log.warn(message);
  else if (level == "error") log.error(message);
  else return fail("a level is trace, debug, info, warn or error");
  return "ok";
}

function getConfig(name: string): string {
  const got = config.get(name);
  return tell(got.value, got.error);
}

function showRandom(size: i64): string {
  if (size < 0 || size > MOST_RANDOM_BYTES) return fail(`ask for at most ${MOST_RANDOM_BYTES} bytes`);
  const bytes = new Uint8Array(<i32>size);
  random.fill(bytes);
  return hexadecimal(bytes);
}

function hexadecimal(bytes: Uint8Array): string {
  const digits = new Uint8Array(2 * bytes.length);
  for (let at = 0; at < bytes.length; at++) {
    digits[2 * at] = <u8>DIGITS.charCodeAt(bytes[at] >> 4);
    digits[2 * at + 1] = <u8>DIGITS.charCodeAt(bytes[at] & 15);
  }
  return String.UTF8.decodeUnsafe(digits.dataStart, digits.length);
}

function emit(parts: string[]): string {
  const size = encodeText(parts[0]).length;
  if (size < 1 || size > 64) return fail("an event's name has 1 to 64 bytes");
  events.emit(parts[0], parts[1]);
  return "ok";
}

function report(parts: string[]): string {
  const percent = number(parts[0]);
  if (problem == "") progress.report(<i32>min<i64>(percent, 1000), parts[1]);
  return "ok";
}

/** A step named by the first word, and one within it that has the third word as an attribute. */
function record(parts: string[]): string {
  const outer = encodeText(parts[0]).length;
  const inner = encodeText(parts[1]).length;
  if (outer < 1 || outer > 64 || inner < 1 || inner > 64) return fail("a span's name has 1 to 64 bytes");
  const around = spans.open(parts[0]);
  const within = spans.open(parts[1]);
  within.attribute("value", parts[2]);
  around.close();
  return "ok";
}

/** A secret's value is nobody's business; its size shows that it came. */
function measureSecret(name: string): string {
  const got = secrets.get(name);
  const value = got.value;
  return tell(value === null ? null : `${value.length} bytes`, got.error);
}

function getValue(key: string): string {
  const got = kv.get(key);
  return tell(asText(got.value), got.error);
}

function setValue(parts: string[]): string {
  const seconds = number(parts[1]);
  if (problem != "") return "";
  return tell("", kv.set(parts[0], encodeText(parts[2]), <u32>seconds));
}

function removeValue(key: string): string {
  const removed = kv.remove(key);
  return tell(removed.value ? "" : null, removed.error);
}

function addValue(parts: string[]): string {
  const delta = number(parts[1]);
  if (problem != "") return "";
  const sum = kv.add(parts[0], delta);
  return tell(sum.value.toString(), sum.error);
}

/** `METHOD URL`, then perhaps `NAME:VALUE` of a header, then perhaps the body. */
function fetch(parts: string[]): string {
  if (parts.length < 2) return fail("http_fetch wants a method and a URL");
  const request = new http.Request(parts[0], parts[1]);
  const colon = parts.length > 2 ? parts[2].indexOf(":") : -1;
  if (colon >= 0) request.header(parts[2].substring(0, colon), parts[2].substring(colon + 1));
  if (parts.length > 3) request.body(encodeText(parts[3]));
  const sent = request.send();
  const response = sent.value;
  return tell(response === null ? null : show(response), sent.error);
}

function show(response: http.Response): string {
  const kind = response.header("content-type");
  const body = asText(response.body);
  return `${response.status} ${kind === null ? "-" : kind} ${body === null ? "" : body}`;
}

function asText(bytes: Uint8Array | null): string | null {
  if (bytes === null) return null;
  const text = decodeText(bytes);
  return text === null ? "(no text)" : text;
}

function tell(value: string | null, error: HostError | null): string {
  if (error !== null) return `failed ${error.code}`;
  if (value === null) return "absent";
  return value == "" ? "ok" : `ok ${value}`;
}

/** So many words; the last may hold blanks. */
function words(rest: string, count: i32): string[] {
  const found = splitWords(rest, count);
  if (found.length < count) fail(`expected ${count} words`);
  while (found.length < count) found.push("");
  return found;
}

function splitWords(text: string, most: i32): string[] {
  const found: string[] = [];
  let rest = text;
  let blank = rest.indexOf(" ");
  while (found.length < most - 1 && blank >= 0) {
    found.push(rest.substring(0, blank));
    rest = rest.substring(blank + 1);
    blank = rest.indexOf(" ");
  }
  found.push(rest);
  return found;
}

function number(text: string): i64 {
  const digits = text.startsWith("-") ? text.substring(1) : text;
  const value = I64.parseInt(text);
  // What is written back alike was read right, however long it was.
  if (digits == "" || value.toString() != text) fail("that is no number here");
  return value;
}

function fail(reason: string): string {
  if (problem == "") problem = reason;
  return "";
}
