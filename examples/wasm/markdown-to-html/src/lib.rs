//! Renders Markdown that strangers wrote as HTML that is safe to put into a page.
//!
//! Raw HTML is shown instead of obeyed, and only links of harmless schemes are kept.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};
use stockade_guest::Rejection;

const SAFE_SCHEMES: [&str; 3] = ["http", "https", "mailto"];

stockade_guest::task!(render);

fn render(input: &[u8]) -> Result<Vec<u8>, Rejection> {
    let text =
        std::str::from_utf8(input).map_err(|_| Rejection::permanent("the input is not UTF-8"))?;
    if text.trim().is_empty() {
        return Err(Rejection::permanent("the input is empty"));
    }
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut page = String::with_capacity(text.len() * 3 / 2);
    html::push_html(&mut page, Parser::new_ext(text, options).map(defuse));
    Ok(page.into_bytes())
}

fn defuse(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        Event::Start(tag) => Event::Start(defuse_tag(tag)),
        other => other,
    }
}

fn defuse_tag(tag: Tag<'_>) -> Tag<'_> {
    match tag {
        Tag::Link {
            link_type,
            dest_url,
            title,
            id,
        } => Tag::Link {
            link_type,
            dest_url: safe_url(dest_url),
            title,
            id,
        },
        Tag::Image {
            link_type,
            dest_url,
            title,
            id,
        } => Tag::Image {
            link_type,
            dest_url: safe_url(dest_url),
            title,
            id,
        },
        other => other,
    }
}

/// A browser ignores control characters and case in a scheme, so neither may hide one here.
fn safe_url(url: CowStr<'_>) -> CowStr<'_> {
    let visible: String = url
        .chars()
        .filter(|c| !c.is_control() && !c.is_whitespace())
        .collect();
    let scheme_end = visible.find([':', '/', '?', '#']);
    match scheme_end.filter(|&end| visible[end..].starts_with(':')) {
        Some(end) if !SAFE_SCHEMES.contains(&visible[..end].to_lowercase().as_str()) => "".into(),
        _ => url,
    }
}

#[cfg(test)]
mod tests {
    use super::render;

    fn page(text: &str) -> String {
        String::from_utf8(render(text.as_bytes()).expect("output")).expect("UTF-8")
    }

    #[test]
    fn raw_html_is_shown() {
        assert_eq!(
            page("a <b onclick=x>b</b>"),
            "<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>\n"
        );
        assert!(!page("<script>alert(1)</script>").contains("<script"));
    }

    #[test]
    fn links_that_run_code_lose_their_target() {
        for url in [
            "javascript:alert(1)",
            "JaVaScript:x",
            "java&#10;script:x",
            "data:text/html,x",
        ] {
            assert_eq!(
                page(&format!("[x](<{url}>)")),
                "<p><a href=\"\">x</a></p>\n",
                "{url}"
            );
        }
    }

    #[test]
    fn harmless_links_stay() {
        for url in [
            "https://example.org/a?b#c",
            "mailto:a@example.org",
            "../a:b",
            "#part",
        ] {
            assert_eq!(
                page(&format!("[x]({url})")),
                format!("<p><a href=\"{url}\">x</a></p>\n")
            );
        }
    }

    #[test]
    fn what_is_no_text_is_rejected() {
        assert!(render(b"\xff\xfe").is_err());
        assert!(render(b" \n").is_err());
    }
}
