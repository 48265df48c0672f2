/** Strict JSON (RFC 8259) for tasks that must not guess: anything else is a problem with its place. */

export enum Kind {
  Null,
  Boolean,
  Number,
  Text,
  List,
  Object,
}

/** One value; `text` is what a text says, or how a number or word was written. */
export class Json {
  readonly items: Json[] = [];
  readonly members: Map<string, Json> = new Map();

  constructor(
    readonly kind: Kind,
    readonly text: string = "",
  ) {}
}

const MAX_DEPTH = 64;
const HEX_DIGITS = "0123456789abcdef";

/** Reads one document. The language has no exceptions: the first problem is kept, and ends it. */
export class JsonReader {
  problem: string = "";
  private at: i32 = 0;

  constructor(private readonly source: string) {}

  /** The document's value; worth nothing when there is a problem. */
  read(): Json {
    const value = this.value(0);
    if (this.peek() != -1) this.fail("nothing more");
    return value;
  }

  private value(depth: i32): Json {
    const unit = this.peek();
    if (depth > MAX_DEPTH) return this.fail("less nesting");
    if (unit == 0x7b) return this.object(depth);
    if (unit == 0x5b) return this.list(depth);
    if (unit == 0x22) return new Json(Kind.Text, this.string());
    if (unit == 0x2d || isDigit(unit)) return this.number();
    return this.word();
  }

  private object(depth: i32): Json {
    const object = new Json(Kind.Object);
    this.expect("{");
    if (this.accept("}")) return object;
    do {
      const name = this.peek() == 0x22 ? this.string() : this.fail("a name").text;
      if (object.members.has(name)) this.fail("each name once");
      this.expect(":");
      object.members.set(name, this.value(depth + 1));
    } while (this.accept(","));
    this.expect("}");
    return object;
  }

  private list(depth: i32): Json {
    const list = new Json(Kind.List);
    this.expect("[");
    if (this.accept("]")) return list;
    do {
      list.items.push(this.value(depth + 1));
    } while (this.accept(","));
    this.expect("]");
    return list;
  }

  private word(): Json {
    if (this.accept("null")) return new Json(Kind.Null);
    if (this.accept("true")) return new Json(Kind.Boolean, "true");
    if (this.accept("false")) return new Json(Kind.Boolean, "false");
    return this.fail("a value");
  }

  private number(): Json {
    const start = this.at;
    this.skip("-");
    if (!this.skip("0")) this.digits();
    if (this.skip(".")) this.digits();
    if (this.skip("e") || this.skip("E")) {
      if (!this.skip("+")) this.skip("-");
      this.digits();
    }
    return new Json(Kind.Number, this.source.substring(start, this.at));
  }

  private digits(): void {
    const start = this.at;
    while (isDigit(this.unit())) this.at++;
    if (this.at == start) this.fail("a digit");
  }

  private string(): string {
    const parts: string[] = [];
    let start = ++this.at;
    while (this.unit() != 0x22) {
      if (this.unit() < 0x20) return this.fail("the end of a text").text;
      if (this.unit() == 0x5c) {
        parts.push(this.source.substring(start, this.at));
        parts.push(this.escape());
        start = this.at;
      } else {
        this.at++;
      }
    }
    parts.push(this.source.substring(start, this.at++));
    return parts.join("");
  }

  private escape(): string {
    this.at++;
    const letter = this.unit() == -1 ? "" : this.source.charAt(this.at++);
    if (letter == "u") return this.character();
    const which = letter == "" ? -1 : '"\\/bfnrt'.indexOf(letter);
    return which < 0 ? this.fail("an escape").text : '"\\/\b\f\n\r\t'.charAt(which);
  }

  /** A character beyond the first 65536 takes two escapes; half of one is no text. */
  private character(): string {
    const unit = this.hexUnit();
    if (unit < 0xd800 || unit > 0xdfff) return String.fromCharCode(unit);
    if (unit > 0xdbff || !this.skip("\\u")) return this.fail("a whole character").text;
    const second = this.hexUnit();
    if (second < 0xdc00 || second > 0xdfff) return this.fail("a whole character").text;
    return String.fromCharCode(unit, second);
  }

  private hexUnit(): i32 {
    let unit = 0;
    for (let place = 0; place < 4; place++) {
      const digit = this.unit() == -1 ? "" : this.source.charAt(this.at++).toLowerCase();
      const value = digit == "" ? -1 : HEX_DIGITS.indexOf(digit);
      if (value < 0) {
        this.fail("four hexadecimal digits");
        return 0;
      }
      unit = unit * 16 + value;
    }
    return unit;
  }

  private expect(token: string): void {
    if (!this.accept(token)) this.fail(token);
  }

  private accept(token: string): bool {
    this.peek();
    return this.skip(token);
  }

  private skip(token: string): bool {
    const found = this.source.startsWith(token, this.at);
    if (found) this.at += token.length;
    return found;
  }

  /** What comes after blanks; -1 at the end. */
  private peek(): i32 {
    while (isBlank(this.unit())) this.at++;
    return this.unit();
  }

  private unit(): i32 {
    return this.at < this.source.length ? this.source.charCodeAt(this.at) : -1;
  }

  /** Goes to the end of the source, where every reader stops. */
  private fail(expected: string): Json {
    if (this.problem == "") this.problem = `expected ${expected} at character ${this.at + 1}`;
    this.at = this.source.length;
    return new Json(Kind.Null);
  }
}

/** A text as JSON writes it. */
export function quote(text: string): string {
  const parts: string[] = ['"'];
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit == 0x22 || unit == 0x5c) parts.push("\\");
    parts.push(unit < 0x20 ? "\\u" + unit.toString(16).padStart(4, "0") : text.charAt(at));
  }
  parts.push('"');
  return parts.join("");
}

function isDigit(unit: i32): bool {
  return unit >= 0x30 && unit <= 0x39;
}

function isBlank(unit: i32): bool {
  return unit == 0x20 || unit == 0x0a || unit == 0x0d || unit == 0x09;
}
