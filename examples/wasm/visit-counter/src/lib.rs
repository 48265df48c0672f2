//! Counts the visits of a site's pages: the input is the page's path, the output a line of JSON.

mod moment;

use moment::Moment;
use stockade_guest::{Rejection, clock, config, events, kv, progress};

const MOST_PATH_BYTES: usize = 200;

stockade_guest::task!(count);

fn count(input: &[u8]) -> Result<Vec<u8>, Rejection> {
    let page = read_page(input)?;
    let site = config::get("SITE")?.unwrap_or_else(|| "this site".to_owned());
    progress::report(50, "counting");
    // One call that adds, not one that reads and one that writes: other runs count too. The key's
    // slash is the path's own.
    let visits = kv::add(&format!("visits{page}"), 1).map_err(|error| try_later(&error))?;
    let at = Moment(clock::now_ms());
    if is_milestone(visits) {
        events::emit(
            "milestone",
            &format!(r#"{{"page": "{page}", "visits": {visits}}}"#),
        );
    }
    let site = site.replace(['"', '\\'], "'");
    let line = format!(
        "{{\"site\": \"{site}\", \"page\": \"{page}\", \"visits\": {visits}, \"at\": \"{at}\"}}\n"
    );
    Ok(line.into_bytes())
}

/// Only characters that need no escape, neither in a key nor in JSON.
fn read_page(input: &[u8]) -> Result<&str, Rejection> {
    let text = std::str::from_utf8(input).unwrap_or_default().trim_end();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte);
    if text.len() > MOST_PATH_BYTES || text.len() < 2 || !text.starts_with('/') {
        return Err(Rejection::permanent(
            "the input is no path such as /pricing",
        ));
    }
    if !text.bytes().all(plain) {
        return Err(Rejection::permanent(
            "write other characters of the path as %XX",
        ));
    }
    Ok(text)
}

fn is_milestone(visits: i64) -> bool {
    let mut power = 1;
    while power < visits {
        power *= 10;
    }
    power == visits
}

fn try_later(error: &stockade_guest::HostError) -> Rejection {
    Rejection::retryable(format!("the visit was not counted: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{count, is_milestone};
    use stockade_guest::{Rejection, testing};

    fn output(input: &[u8]) -> String {
        String::from_utf8(count(input).expect("an output")).expect("UTF-8")
    }

    #[test]
    fn each_page_has_its_own_count() {
        testing::reset();
        testing::set_now_ms(1_795_451_445_678);
        testing::set_config("SITE", "docs");
        let first = "{\"site\": \"docs\", \"page\": \"/a\", \"visits\": 1, \
                     \"at\": \"2026-11-23T16:30:45Z\"}\n";
        assert_eq!(output(b"/a\n"), first);
        assert!(output(b"/b").contains("\"visits\": 1,"));
        assert!(output(b"/a").contains("\"visits\": 2,"));
    }

    #[test]
    fn milestones_are_events() {
        testing::reset();
        for _ in 0..12 {
            output(b"/a");
        }
        let told: Vec<String> = testing::events()
            .into_iter()
            .map(|(_, data)| data)
            .collect();
        let expected = [
            r#"{"page": "/a", "visits": 1}"#,
            r#"{"page": "/a", "visits": 10}"#,
        ];
        assert_eq!(told, expected);
        assert_eq!(testing::progress()[0], (50, "counting".to_owned()));
        assert!(is_milestone(1_000) && !is_milestone(999) && !is_milestone(1_001));
    }

    #[test]
    fn a_full_store_may_have_room_later() {
        testing::reset();
        testing::fail("kv_add", "kv.quota_exceeded", "Delete something.");
        let told = "the visit was not counted: kv.quota_exceeded: Delete something.";
        assert_eq!(count(b"/a"), Err(Rejection::retryable(told)));
    }

    #[test]
    fn a_setting_cannot_break_the_output() {
        testing::reset();
        testing::set_config("SITE", "a\"b\\");
        assert!(output(b"/a").starts_with("{\"site\": \"a'b'\","));
    }

    #[test]
    fn what_is_no_path_is_rejected() {
        testing::reset();
        for input in ["", "/", "a", "/a b", "/\"", "/é", "/\0"] {
            assert!(count(input.as_bytes()).is_err(), "{input:?}");
        }
        assert!(count(&[b'/'; 201]).is_err());
        assert!(testing::events().is_empty());
    }
}
