//! Steps of the run, as spans of its trace.
//!
//! Imports `span_open`, `span_close` and `span_attribute` where they are used; they need no grant.
//! The host notes when; nothing of it comes back, so a pure function stays one.

use crate::raw;

const MOST_BYTES: usize = 256;

/// A step under way. It ends when this is dropped, and with it what was opened within it.
#[derive(Debug)]
pub struct Span {
    number: i32,
}

impl Span {
    /// Says something about the step; the last word on a name stands. A value ends after 256 bytes,
    /// and what finds no room is dropped.
    ///
    /// A name that is empty or longer than 64 bytes is a defect, and traps.
    pub fn attribute(&self, name: &str, value: &str) {
        let end = (0..=MOST_BYTES.min(value.len())).rfind(|place| value.is_char_boundary(*place));
        raw::span_attribute(self.number, name, &value[..end.unwrap_or(0)]);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        raw::span_close(self.number);
    }
}

/// Opens a step within the innermost one that is open. Where there is no room it is not recorded.
///
/// A name that is empty or longer than 64 bytes is a defect, and traps.
#[must_use = "the step ends when this is dropped"]
pub fn open(name: &str) -> Span {
    Span {
        number: raw::span_open(name),
    }
}

#[cfg(test)]
mod tests {
    use super::open;
    use crate::testing;

    #[test]
    fn steps_lie_within_each_other_and_end_when_dropped() {
        testing::reset();
        {
            let outer = open("outer");
            let inner = open("inner");
            inner.attribute("rows", "7");
            outer.attribute("long", &"é€".repeat(100));
        }
        let _later = open("later");
        let spans = testing::spans();
        assert_eq!(spans[0].name, "outer");
        assert_eq!(spans[0].attributes, [("long".to_owned(), "é€".repeat(51))]);
        assert_eq!((spans[1].parent, spans[1].closed), (1, true));
        assert_eq!(spans[1].attributes, [("rows".to_owned(), "7".to_owned())]);
        assert_eq!((spans[2].parent, spans[2].closed), (0, false));
    }
}
