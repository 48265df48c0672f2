/** An order as it comes in, read from JSON with every field checked. */

import { Json, JsonReader, Kind } from "./json";

export class Line {
  constructor(
    readonly sku: string,
    readonly quantity: i64,
    readonly unitCents: i64,
  ) {}
}

export class Order {
  constructor(
    readonly id: string,
    readonly tier: string,
    readonly coupon: string,
    readonly lines: Line[],
  ) {}
}

const MAX_LINES = 1000;
const MAX_QUANTITY: i64 = 100_000;
const MAX_UNIT_CENTS: i64 = 100_000_000;

/** Reads an order, and keeps the first problem, like the JSON reader under it. */
export class OrderReader {
  problem: string = "";

  /** The order; worth nothing when there is a problem. */
  read(source: string): Order {
    const reader = new JsonReader(source);
    const json = reader.read();
    if (reader.problem != "") this.fail(reader.problem);
    const lines = this.lines(json);
    return new Order(
      this.text(json, "order", null),
      this.text(json, "tier", "standard"),
      this.text(json, "coupon", ""),
      lines,
    );
  }

  private lines(json: Json): Line[] {
    const lines: Line[] = [];
    const list = this.member(json, "lines");
    const count = list === null || list.kind != Kind.List ? 0 : list.items.length;
    if (count < 1 || count > MAX_LINES) this.fail(`"lines" is not a list of 1 to ${MAX_LINES}`);
    if (list === null || this.problem != "") return lines;
    for (let index = 0; index < count; index++) lines.push(this.line(list.items[index]));
    return lines;
  }

  private line(json: Json): Line {
    return new Line(
      this.text(json, "sku", null),
      this.whole(json, "quantity", 1, MAX_QUANTITY),
      this.whole(json, "unit_cents", 0, MAX_UNIT_CENTS),
    );
  }

  private text(json: Json, name: string, otherwise: string | null): string {
    const member = this.member(json, name);
    if (member === null && otherwise !== null) return otherwise;
    if (member !== null && member.kind == Kind.Text && member.text != "") return member.text;
    this.fail(`"${name}" is not a text`);
    return "";
  }

  private whole(json: Json, name: string, least: i64, most: i64): i64 {
    const member = this.member(json, name);
    const value = member === null || member.kind != Kind.Number ? -1 : parseWhole(member.text);
    if (value < least || value > most) this.fail(`"${name}" is not a whole number from ${least} to ${most}`);
    return value;
  }

  private member(json: Json, name: string): Json | null {
    return json.members.has(name) ? json.members.get(name) : null;
  }

  private fail(problem: string): void {
    if (this.problem == "") this.problem = problem;
  }
}

/** Digits only, as money and counts are written; -1 for anything else. */
function parseWhole(text: string): i64 {
  let value: i64 = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0x30 || unit > 0x39 || at > 15) return -1;
    value = value * 10 + (unit - 0x30);
  }
  return value;
}
