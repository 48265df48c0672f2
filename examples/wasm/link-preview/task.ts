/** Fetches the pages that its input links to, one a line, and tells the title of each. */

import { Answer, HostError, config, decodeText, http, respond, secrets } from "stockade-guest";
import { findTitle } from "./title";

export { stockade_v1_alloc } from "stockade-guest";

export function stockade_v1_run(pointer: usize, length: i32): u64 {
  return respond(pointer, length, preview);
}

const MOST_LINKS = 20;

/** The pages below `address` are asked for with the secret WIKI_TOKEN, and no others are. */
class Wiki {
  constructor(
    readonly address: string,
    readonly token: string,
  ) {}
}

function preview(input: Uint8Array): Answer {
  const text = decodeText(input);
  if (text === null) return Answer.reject("the input is not UTF-8");
  if (text.trim() == "") return Answer.reject("the input holds no links");
  const links = text.trimEnd().split("\n");
  if (links.length > MOST_LINKS) return Answer.reject(`the input holds more than ${MOST_LINKS} links`);
  const wiki = readWiki();
  const lines: string[] = [];
  for (let index = 0; index < links.length; index++) {
    lines.push(`${links[index]}\t${describe(links[index], wiki)}\n`);
  }
  return Answer.text(lines.join(""));
}

/** Without the setting WIKI_URL there is no wiki, and the secret is not even read. */
function readWiki(): Wiki | null {
  const address = config.get("WIKI_URL").value;
  if (address === null || !address.endsWith("/")) return null;
  const secret = secrets.get("WIKI_TOKEN").value;
  if (secret === null) return null;
  const token = decodeText(secret);
  return token === null ? null : new Wiki(address, token);
}

function describe(link: string, wiki: Wiki | null): string {
  const request = http.Request.get(link).header("accept", "text/html").header("user-agent", "link-preview");
  if (wiki !== null && link.startsWith(wiki.address)) request.header("authorization", "Bearer " + wiki.token);
  const sent = request.send();
  const response = sent.value;
  return response === null ? explain(sent.error) : describePage(response);
}

function explain(error: HostError | null): string {
  return error === null ? "(nothing)" : `(${error.code})`;
}

function describePage(response: http.Response): string {
  if (!response.isSuccess) return `(status ${response.status})`;
  const kind = response.header("content-type");
  if (kind === null || !kind.startsWith("text/html")) return "(no page)";
  const page = decodeText(response.body);
  if (page === null) return "(not UTF-8)";
  const title = findTitle(page);
  return title == "" ? "(no title)" : title;
}
