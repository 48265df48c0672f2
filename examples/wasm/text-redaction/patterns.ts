/** What is recognised. Each function says where a match that starts at a place ends, or gives -1. */

const MAX_LOCAL_PART = 64;
const MAX_DOMAIN = 255;
const MIN_CARD_DIGITS = 13;
const MAX_CARD_DIGITS = 19;
const MIN_PHONE_DIGITS = 9;
const MAX_PHONE_DIGITS = 15;
/** In a row, as in `(030) 12`. */
const MAX_SEPARATORS = 2;

const DOT: i32 = 0x2e;
const HYPHEN: i32 = 0x2d;
const PLUS: i32 = 0x2b;
const SPACE: i32 = 0x20;
const ZERO: i32 = 0x30;
const AT: i32 = 0x40;
const BRACKET: i32 = 0x28;

/** `name@host.tld`, as people write it; quoted names and bare hosts are left alone. */
export function emailEnd(text: string, start: i32): i32 {
  let at = start;
  const furthest = min(text.length, start + MAX_LOCAL_PART);
  while (at < furthest && isLocalUnit(text.charCodeAt(at))) at++;
  if (at == start || unitAt(text, at) != AT) return -1;
  return domainEnd(text, at + 1);
}

function domainEnd(text: string, start: i32): i32 {
  const furthest = min(text.length, start + MAX_DOMAIN);
  let end = -1;
  let labelStart = start;
  for (let at = start; at <= furthest; at++) {
    const unit = unitAt(text, at);
    if (isWordUnit(unit) || unit == HYPHEN) continue;
    if (at == labelStart) break;
    if (labelStart > start && at - labelStart > 1) end = at;
    if (unit != DOT) break;
    labelStart = at + 1;
  }
  return end;
}

/** 13 to 19 digits, perhaps in groups, that pass the Luhn check. */
export function cardEnd(text: string, start: i32): i32 {
  if (!isDigit(unitAt(text, start))) return -1;
  return digitsEnd(text, start, MIN_CARD_DIGITS, MAX_CARD_DIGITS, isCardSeparator, passesLuhn);
}

/** 9 to 15 digits that begin as phone numbers do: with a plus, a zero or a bracket. */
export function phoneEnd(text: string, start: i32): i32 {
  const first = unitAt(text, start);
  if (first != PLUS && first != ZERO && first != BRACKET) return -1;
  const digits = first == ZERO ? start : start + 1;
  if (!isDigit(unitAt(text, digits))) return -1;
  return digitsEnd(text, digits, MIN_PHONE_DIGITS, MAX_PHONE_DIGITS, isPhoneSeparator, () => true);
}

/** Ends after the longest acceptable run of digits, so that a number after it cannot hide it. */
function digitsEnd(
  text: string,
  start: i32,
  least: i32,
  most: i32,
  isSeparator: (unit: i32) => bool,
  accepts: (digits: i32[]) => bool,
): i32 {
  const digits: i32[] = [];
  let end = -1;
  let separators = 0;
  for (let at = start; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (isDigit(unit)) {
      if (digits.length == most) break;
      digits.push(unit - ZERO);
      separators = 0;
      const complete = digits.length >= least && !isWordUnit(unitAt(text, at + 1));
      if (complete && accepts(digits)) end = at + 1;
    } else if (!isSeparator(unit) || ++separators > MAX_SEPARATORS) {
      break;
    }
  }
  return end;
}

/** ISO/IEC 7812-1, annex B: from the right, every second digit counts double. */
function passesLuhn(digits: i32[]): bool {
  let sum = 0;
  for (let place = 0; place < digits.length; place++) {
    const digit = digits[digits.length - 1 - place];
    const doubled = digit * 2;
    sum += place % 2 == 0 ? digit : doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 == 0;
}

/** Letters, digits and all beyond ASCII: what may not touch a match. */
export function isWordUnit(unit: i32): bool {
  const letter = unit | 0x20;
  return isDigit(unit) || (letter >= 0x61 && letter <= 0x7a) || unit > 0x7f;
}

function isLocalUnit(unit: i32): bool {
  const others = unit == DOT || unit == HYPHEN || unit == PLUS || unit == 0x5f || unit == 0x25;
  return isWordUnit(unit) || others;
}

function isCardSeparator(unit: i32): bool {
  return unit == SPACE || unit == HYPHEN;
}

function isPhoneSeparator(unit: i32): bool {
  return unit == SPACE || unit == HYPHEN || unit == DOT || unit == 0x2f || unit == 0x28 || unit == 0x29;
}

function isDigit(unit: i32): bool {
  return unit >= ZERO && unit <= 0x39;
}

/** The unit at a place, or -1 behind the end. */
function unitAt(text: string, at: i32): i32 {
  return at < text.length ? text.charCodeAt(at) : -1;
}
