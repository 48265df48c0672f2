//! Randomness fit for keys.
//!
//! Imports `random`; needs the grant `random`.

use crate::raw;

/// What one host call fills at most.
const MOST_BYTES: usize = 65_536;

/// Fills a buffer of any size.
pub fn fill(buffer: &mut [u8]) {
    buffer.chunks_mut(MOST_BYTES).for_each(raw::random);
}

/// A number, each as likely as any other.
#[must_use]
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::{MOST_BYTES, fill, number};
    use crate::testing;

    #[test]
    fn a_large_buffer_is_filled_to_its_end() {
        testing::reset();
        let mut buffer = vec![0; 2 * MOST_BYTES + 64];
        fill(&mut buffer);
        assert!(buffer[2 * MOST_BYTES..].iter().any(|byte| *byte != 0));
        assert_ne!(number(), number());
    }
}
