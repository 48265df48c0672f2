/** The UTF-8 bytes of a text; half a character becomes U+FFFD. */
export function encodeText(text: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(text, false, String.UTF8.ErrorMode.REPLACE));
}

/**
 * The text of UTF-8 bytes, or null when they are not UTF-8.
 *
 * The language's own decoder takes any bytes, so a task that must not guess asks here.
 */
export function decodeText(bytes: Uint8Array): string | null {
  let at = 0;
  while (at < bytes.length) {
    const size = sequenceLength(bytes, at);
    if (size == 0) return null;
    at += size;
  }
  return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length);
}

/** How many bytes the character at a place takes; 0 when there is none (Unicode, table 3-7). */
function sequenceLength(bytes: Uint8Array, at: i32): i32 {
  const lead = bytes[at];
  if (lead < 0x80) return 1;
  const size = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (size == 0 || at + size > bytes.length) return 0;
  const second = bytes[at + 1];
  if (second < lowestSecond(lead) || second > highestSecond(lead)) return 0;
  for (let next = at + 2; next < at + size; next++) {
    if ((bytes[next] & 0xc0) != 0x80) return 0;
  }
  return size;
}

/** Shuts out overlong forms. */
function lowestSecond(lead: u8): u8 {
  return lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
}

/** Shuts out surrogates, and what lies beyond Unicode. */
function highestSecond(lead: u8): u8 {
  return lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
}
