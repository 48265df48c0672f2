import { decodeText } from "./text";

/** Why a host call failed: it was not granted, a quota is used up, a server did not answer. */
export class HostError {
  constructor(
    /** The stable name of what went wrong, such as `http_fetch.not_granted`. */
    readonly code: string,
    /** What went wrong and what to do, for people. */
    readonly message: string,
  ) {}
}

/** What a host call came to: a value, worth nothing when there is an error. */
export class Result<T> {
  constructor(
    readonly value: T,
    readonly error: HostError | null = null,
  ) {}
}

const DATA: u8 = 0;
const ABSENT: u8 = 1;
const FAILED: u8 = 2;

/** Reads a reply: null is what is not there. Traps on what only a broken host writes. */
export function decodeReply(reply: Uint8Array): Result<Uint8Array | null> {
  assert(reply.length > 0, "the host's reply is empty");
  const rest = reply.subarray(1);
  if (reply[0] == DATA) return new Result<Uint8Array | null>(rest);
  if (reply[0] == FAILED) return new Result<Uint8Array | null>(null, decodeFailure(rest));
  assert(reply[0] == ABSENT && rest.length == 0, "the host's reply is malformed");
  return new Result<Uint8Array | null>(null);
}

function decodeFailure(bytes: Uint8Array): HostError {
  const text = decodeText(bytes);
  assert(text !== null, "the host's failure is not UTF-8");
  const end = text!.indexOf(": ");
  assert(end >= 0, "the host's failure has no code");
  return new HostError(text!.substring(0, end), text!.substring(end + 2));
}
