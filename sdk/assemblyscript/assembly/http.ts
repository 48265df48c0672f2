/**
 * HTTP requests to where the function's grants allow. Using this makes the module import `http_fetch`,
 * which needs a grant such as `http_fetch:GET https://api.example.com/v1/`.
 */

import * as raw from "./raw";
import { HostError, Result, decodeReply } from "./reply";
import { decodeText, encodeText } from "./text";

/** One line of a head. */
export class Header {
  constructor(
    readonly name: string,
    readonly value: string,
  ) {}
}

/** A request, sent by `send`. */
export class Request {
  private readonly headers: Header[] = [];
  private content: Uint8Array = new Uint8Array(0);

  constructor(
    private readonly method: string,
    private readonly url: string,
  ) {}

  /** A request that reads. */
  static get(url: string): Request {
    return new Request("GET", url);
  }

  /** A request that hands something over; see `body`. */
  static post(url: string): Request {
    return new Request("POST", url);
  }

  /** Adds a header. The host sets `host` and `content-length`. */
  header(name: string, value: string): Request {
    this.headers.push(new Header(name, value));
    return this;
  }

  /** Sets the body. */
  body(bytes: Uint8Array): Request {
    this.content = bytes;
    return this;
  }

  /** Sends the request and waits for the whole response, whatever its status. */
  send(): Result<Response | null> {
    // The host could not tell a line that was broken up from what was meant.
    if (!this.isOneLineEach()) return new Result<Response | null>(null, malformed());
    const reply = decodeReply(raw.httpFetch(this.encode()));
    const response = reply.error === null ? decodeResponse(reply.value) : null;
    return new Result<Response | null>(response, reply.error);
  }

  private isOneLineEach(): bool {
    let fits = isToken(this.method) && isLine(this.url);
    for (let index = 0; fits && index < this.headers.length; index++) {
      const header = this.headers[index];
      fits = isToken(header.name) && isLine(header.value);
    }
    return fits;
  }

  private encode(): Uint8Array {
    const lines = [`${this.method} ${this.url}\n`];
    for (let index = 0; index < this.headers.length; index++) {
      const header = this.headers[index];
      lines.push(`${header.name}: ${header.value}\n`);
    }
    const head = encodeText(lines.join("") + "\n");
    const bytes = new Uint8Array(head.length + this.content.length);
    bytes.set(head);
    bytes.set(this.content, head.length);
    return bytes;
  }
}

/** What a server answered. */
export class Response {
  constructor(
    /** The HTTP status, such as 200. */
    readonly status: i32,
    /** Names are in lower case. */
    readonly headers: Header[],
    /** The body as it came. */
    readonly body: Uint8Array,
  ) {}

  /** Whether the status is one of success: 200 to 299. */
  get isSuccess(): bool {
    return this.status >= 200 && this.status < 300;
  }

  /** The first header of a name in lower case; null when there is none. */
  header(name: string): string | null {
    for (let index = 0; index < this.headers.length; index++) {
      if (this.headers[index].name == name) return this.headers[index].value;
    }
    return null;
  }
}

/** Reads a response. Traps on what only a broken host writes. */
function decodeResponse(data: Uint8Array | null): Response {
  assert(data !== null, "the host's response is missing");
  const bytes = data!;
  const end = headEnd(bytes);
  const lines = decodeHead(bytes.subarray(0, end)).split("\n");
  const headers: Header[] = [];
  for (let index = 1; index < lines.length; index++) headers.push(decodeHeader(lines[index]));
  return new Response(decodeStatus(lines[0]), headers, bytes.subarray(end + 2));
}

function headEnd(bytes: Uint8Array): i32 {
  let end = 0;
  // An array's bound traps where the empty line is missing.
  while (bytes[end] != 0x0a || bytes[end + 1] != 0x0a) end++;
  return end;
}

/** Servers may send anything: U+FFFD stands for each byte that a head which is not UTF-8 should not have. */
function decodeHead(bytes: Uint8Array): string {
  const text = decodeText(bytes);
  if (text !== null) return text;
  const units: string[] = [];
  for (let at = 0; at < bytes.length; at++) {
    units.push(bytes[at] < 0x80 ? String.fromCharCode(bytes[at]) : "\ufffd");
  }
  return units.join("");
}

function decodeStatus(line: string): i32 {
  const status = I32.parseInt(line);
  assert(status >= 100 && status <= 999, "the host's status is no status");
  return status;
}

function decodeHeader(line: string): Header {
  const end = line.indexOf(": ");
  assert(end > 0, "the host's header has no name");
  return new Header(line.substring(0, end), line.substring(end + 2));
}

function malformed(): HostError {
  return new HostError(
    "http_fetch.malformed",
    "Take the characters out of the method, the URL or a header that HTTP does not allow there.",
  );
}

const TOKEN_MARKS = "!#$%&'*+-.^_`|~";

/** Whether a text is a token of HTTP: RFC 9110, 5.6.2. */
function isToken(text: string): bool {
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    const small = unit | 0x20;
    const plain = (unit >= 0x30 && unit <= 0x39) || (small >= 0x61 && small <= 0x7a);
    if (!plain && !TOKEN_MARKS.includes(text.charAt(at))) return false;
  }
  return text.length > 0;
}

function isLine(text: string): bool {
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0x20 || unit == 0x7f) return false;
  }
  return true;
}
