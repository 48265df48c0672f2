/** Replaces e-mail addresses, card numbers and phone numbers in a text, and counts them in the log. */

import { Answer, decodeText, log, respond } from "stockade-guest";
import { cardEnd, emailEnd, isWordUnit, phoneEnd } from "./patterns";

export { stockade_v1_alloc } from "stockade-guest";

export function stockade_v1_run(pointer: usize, length: i32): u64 {
  return respond(pointer, length, redact);
}

class Rule {
  count: i32 = 0;

  constructor(
    readonly name: string,
    readonly mark: string,
    readonly findEnd: (text: string, start: i32) => i32,
  ) {}
}

function redact(input: Uint8Array): Answer {
  if (input.length == 0) return Answer.reject("the input is empty");
  const text = decodeText(input);
  if (text === null) return Answer.reject("the input is not UTF-8");
  const rules = [
    new Rule("e-mail addresses", "[e-mail]", emailEnd),
    new Rule("card numbers", "[card]", cardEnd),
    new Rule("phone numbers", "[phone]", phoneEnd),
  ];
  const clean = replaceAll(text, rules);
  log.info(rules.map<string>((rule) => `${rule.name}: ${rule.count}`).join(", "));
  return Answer.text(clean);
}

/** Every pattern begins where a word does, so each character is looked at a bounded number of times. */
function replaceAll(text: string, rules: Rule[]): string {
  const parts: string[] = [];
  let kept = 0;
  let at = 0;
  while (at < text.length) {
    const end = at == 0 || !isWordUnit(text.charCodeAt(at - 1)) ? replaceAt(text, at, kept, rules, parts) : at;
    if (end > at) {
      kept = end;
      at = end;
    } else {
      at++;
    }
  }
  parts.push(text.substring(kept));
  return parts.join("");
}

/** Where the replaced piece ends; the start itself when no rule fits there. */
function replaceAt(text: string, start: i32, kept: i32, rules: Rule[], parts: string[]): i32 {
  for (let index = 0; index < rules.length; index++) {
    const rule = rules[index];
    const end = rule.findEnd(text, start);
    if (end > start) {
      rule.count++;
      parts.push(text.substring(kept, start));
      parts.push(rule.mark);
      return end;
    }
  }
  return start;
}
