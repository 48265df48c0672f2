//! How far the run is, for who waits for it.
//!
//! Imports `progress`; needs the grant `progress`.

use crate::raw;

const MOST_BYTES: usize = 256;

/// Says how far the run is. More than 100 percent counts as 100, and a message ends after 256 bytes.
pub fn report(percent: u8, message: &str) {
    let end = (0..=MOST_BYTES.min(message.len())).rfind(|place| message.is_char_boundary(*place));
    raw::report(percent.min(100), &message[..end.unwrap_or(0)]);
}

#[cfg(test)]
mod tests {
    use super::report;
    use crate::testing;

    #[test]
    fn what_is_too_much_is_cut_at_a_character() {
        testing::reset();
        report(50, "half");
        report(200, &"é€".repeat(100));
        let told = testing::progress();
        assert_eq!(told[0], (50, "half".to_owned()));
        assert_eq!(told[1], (100, "é€".repeat(51)));
        report(0, "");
        assert_eq!(testing::progress()[2], (0, String::new()));
    }
}
