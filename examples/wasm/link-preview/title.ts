const MOST_UNITS = 200;
const ENTITIES = ["&lt;", "<", "&gt;", ">", "&quot;", '"', "&#39;", "'", "&nbsp;", " ", "&amp;", "&"];

/** The title of an HTML page on one line; empty when there is none. */
export function findTitle(page: string): string {
  const start = skipTag(page, findTag(page, "<title", 0));
  const end = start < 0 ? -1 : findTag(page, "</title", start);
  return end < 0 ? "" : cut(collapse(decodeEntities(page.substring(start, end))));
}

/** Where a tag begins, written in any case; -1 when it does not. */
function findTag(page: string, tag: string, from: i32): i32 {
  let at = page.indexOf("<", from);
  while (at >= 0) {
    if (page.substring(at, at + tag.length).toLowerCase() == tag && endsName(page, at + tag.length)) return at;
    at = page.indexOf("<", at + 1);
  }
  return -1;
}

/** `<title` begins a title, `<titles` does not. */
function endsName(page: string, at: i32): bool {
  const unit = at < page.length ? page.charCodeAt(at) : 0;
  return unit == 0x3e || unit == 0x2f || isBlank(unit);
}

function skipTag(page: string, at: i32): i32 {
  const end = at < 0 ? -1 : page.indexOf(">", at);
  return end < 0 ? -1 : end + 1;
}

/** The ampersand comes last, so that nothing is decoded twice. */
function decodeEntities(text: string): string {
  let decoded = text;
  for (let index = 0; index < ENTITIES.length; index += 2) {
    decoded = decoded.replaceAll(ENTITIES[index], ENTITIES[index + 1]);
  }
  return decoded;
}

/** Blanks and control characters in a row become one blank; none is left at the ends. */
function collapse(text: string): string {
  const words: string[] = [];
  let start = -1;
  for (let at = 0; at <= text.length; at++) {
    const blank = at == text.length || isBlank(text.charCodeAt(at));
    if (!blank && start < 0) start = at;
    if (blank && start >= 0) {
      words.push(text.substring(start, at));
      start = -1;
    }
  }
  return words.join(" ");
}

function isBlank(unit: i32): bool {
  return unit <= 0x20 || (unit >= 0x7f && unit <= 0xa0);
}

/** Half a character at the cut would be none. */
function cut(text: string): string {
  if (text.length <= MOST_UNITS) return text;
  const last = text.charCodeAt(MOST_UNITS - 1);
  const end = last >= 0xd800 && last <= 0xdbff ? MOST_UNITS - 1 : MOST_UNITS;
  return text.substring(0, end) + "…";
}
