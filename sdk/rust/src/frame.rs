//! Response frames: the first byte tells output from rejection.

use crate::Rejection;

const OUTPUT: u8 = 0;
const REJECTION: u8 = 1;

/// Puts what a task returned into the bytes that the host reads.
pub(crate) fn encode(answer: Result<Vec<u8>, Rejection>) -> Vec<u8> {
    answer.map_or_else(|rejection| encode_rejection(&rejection), encode_output)
}

/// An address and a length as the one value that `stockade_v1_run` may return.
pub(crate) fn pack(pointer: u32, length: u32) -> u64 {
    u64::from(pointer) << 32 | u64::from(length)
}

fn encode_output(mut output: Vec<u8>) -> Vec<u8> {
    // In place: a copy would double the memory that a large output needs.
    output.reserve_exact(1);
    output.insert(0, OUTPUT);
    output
}

fn encode_rejection(rejection: &Rejection) -> Vec<u8> {
    let mut frame = vec![REJECTION, u8::from(rejection.is_retryable())];
    frame.extend_from_slice(rejection.message().as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::{encode, pack};
    use crate::Rejection;

    #[test]
    fn output_follows_a_zero() {
        assert_eq!(encode(Ok(b"hi".to_vec())), b"\x00hi");
    }

    #[test]
    fn an_empty_output_is_one_byte() {
        assert_eq!(encode(Ok(Vec::new())), b"\x00");
    }

    #[test]
    fn a_permanent_rejection_says_no_retry() {
        assert_eq!(encode(Err(Rejection::permanent("no"))), b"\x01\x00no");
    }

    #[test]
    fn a_retryable_rejection_says_so() {
        assert_eq!(encode(Err(Rejection::retryable("later"))), b"\x01\x01later");
    }

    #[test]
    fn a_message_is_utf_8() {
        assert_eq!(encode(Err(Rejection::permanent("é"))), b"\x01\x00\xc3\xa9");
    }

    #[test]
    fn the_address_is_the_high_half() {
        assert_eq!(pack(0x0011_0000, 5), 0x0011_0000_0000_0005);
        assert_eq!(pack(0xffff_fff0, 0x10), 0xffff_fff0_0000_0010);
    }
}
