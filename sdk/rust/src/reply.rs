//! Replies: the first byte tells data, absence and failure apart.

use crate::HostError;

/// What a host call came to; `None` is what is not there.
pub(crate) type Reply = Result<Option<Vec<u8>>, HostError>;

pub(crate) const DATA: u8 = 0;
pub(crate) const ABSENT: u8 = 1;
pub(crate) const FAILED: u8 = 2;

/// Reads a reply, which only a broken host writes wrongly.
pub(crate) fn decode(bytes: Vec<u8>) -> Reply {
    try_decode(bytes).expect("the host's reply is malformed")
}

/// Reads the reply of a call that never answers "absent".
pub(crate) fn decode_data(bytes: Vec<u8>) -> Result<Vec<u8>, HostError> {
    Ok(decode(bytes)?.expect("the host's reply has no data"))
}

fn try_decode(mut bytes: Vec<u8>) -> Option<Reply> {
    match *bytes.first()? {
        DATA => {
            // In place: a copy would double the memory that a large reply needs.
            bytes.remove(0);
            Some(Ok(Some(bytes)))
        }
        ABSENT if bytes.len() == 1 => Some(Ok(None)),
        FAILED => decode_failure(&bytes[1..]).map(Err),
        _ => None,
    }
}

fn decode_failure(bytes: &[u8]) -> Option<HostError> {
    let (code, message) = std::str::from_utf8(bytes).ok()?.split_once(": ")?;
    Some(HostError::new(code, message))
}

#[cfg(test)]
mod tests {
    use super::{decode, decode_data, try_decode};
    use crate::HostError;
    use crate::vectors::{bytes, read, text};

    #[test]
    fn replies_are_read_as_the_vectors_say() {
        for vector in read("replies") {
            let expected = match text(&vector["status"]) {
                "ok" => Some(Ok(Some(bytes(&vector["data"])))),
                "absent" => Some(Ok(None)),
                "failed" => Some(Err(HostError::new(
                    text(&vector["code"]),
                    text(&vector["message"]),
                ))),
                _ => None,
            };
            assert_eq!(try_decode(bytes(&vector["reply"])), expected, "{vector}");
        }
    }

    #[test]
    #[should_panic(expected = "malformed")]
    fn a_malformed_reply_ends_the_run() {
        let _ = decode(vec![9]);
    }

    #[test]
    #[should_panic(expected = "no data")]
    fn absence_ends_the_run_where_it_makes_no_sense() {
        let _ = decode_data(vec![1]);
    }
}
