//! The host calls of the stand-in, which answer with the same bytes as the real ones.

use super::{Host, SpanOpened, with};
use crate::HostError;
use crate::http::{decode_request, encode_response};
use crate::reply::{ABSENT, DATA, FAILED, Reply};

pub(crate) fn log(level: i32, message: &str) {
    eprintln!("[{level}] {message}");
    with(|host| host.logs.push((level, message.to_owned())));
}

pub(crate) fn config_get(name: &str) -> Vec<u8> {
    answer("config_get", |host| Ok(host.config.get(name).cloned()))
}

pub(crate) fn now_ms() -> i64 {
    with(|host| host.now_ms)
}

/// Splitmix64: looks random, and is the same in every run of a test.
pub(crate) fn random(buffer: &mut [u8]) {
    for part in buffer.chunks_mut(8) {
        part.copy_from_slice(&with(next_random).to_le_bytes()[..part.len()]);
    }
}

fn next_random(host: &mut Host) -> u64 {
    host.random = host.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (host.random ^ (host.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

pub(crate) fn emit(name: &str, data: &str) {
    with(|host| host.events.push((name.to_owned(), data.to_owned())));
}

pub(crate) fn progress(percent: u8, message: &str) {
    with(|host| host.progress.push((percent, message.to_owned())));
}

pub(crate) fn span_open(name: &str) -> i32 {
    with(|host| {
        let parent = host.spans.iter().rposition(|span| !span.closed);
        host.spans.push(SpanOpened {
            name: name.to_owned(),
            parent: parent.map_or(0, |place| place + 1),
            ..SpanOpened::default()
        });
        i32::try_from(host.spans.len()).unwrap_or(0)
    })
}

pub(crate) fn span_close(number: i32) {
    with(|host| {
        let place = usize::try_from(number - 1).unwrap_or(usize::MAX);
        for span in host.spans.iter_mut().skip(place) {
            span.closed = true;
        }
    });
}

pub(crate) fn span_attribute(number: i32, name: &str, value: &str) {
    with(|host| {
        let place = usize::try_from(number - 1).unwrap_or(usize::MAX);
        if let Some(span) = host.spans.get_mut(place) {
            span.attributes.retain(|(known, _)| known != name);
            span.attributes.push((name.to_owned(), value.to_owned()));
        }
    });
}

pub(crate) fn secret_get(name: &str) -> Vec<u8> {
    answer("secret_get", |host| Ok(host.secrets.get(name).cloned()))
}

pub(crate) fn kv_get(key: &str) -> Vec<u8> {
    answer("kv_get", |host| Ok(host.values.get(key).cloned()))
}

pub(crate) fn kv_set(key: &str, value: &[u8], _ttl_seconds: u32) -> Vec<u8> {
    answer("kv_set", |host| {
        host.values.insert(key.to_owned(), value.to_vec());
        Ok(Some(Vec::new()))
    })
}

pub(crate) fn kv_delete(key: &str) -> Vec<u8> {
    answer("kv_delete", |host| {
        Ok(host.values.remove(key).map(|_| Vec::new()))
    })
}

pub(crate) fn kv_add(key: &str, delta: i64) -> Vec<u8> {
    answer("kv_add", |host| {
        let before = parse_number(host.values.get(key))?;
        let sum = before.checked_add(delta).ok_or_else(overflow)?;
        host.values
            .insert(key.to_owned(), sum.to_string().into_bytes());
        Ok(Some(sum.to_le_bytes().to_vec()))
    })
}

fn parse_number(value: Option<&Vec<u8>>) -> Result<i64, HostError> {
    let text = value.map_or(Ok("0"), |bytes| std::str::from_utf8(bytes));
    let number = text.ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| HostError::new("kv.not_a_number", "The value is no whole number."))
}

fn overflow() -> HostError {
    HostError::new("kv.overflow", "The sum has no room in 64 bits.")
}

pub(crate) fn http_fetch(request: &[u8]) -> Vec<u8> {
    let request = decode_request(request).expect("the SDK's request is well-formed");
    // Taken out first, so that the responder may use the stand-in itself.
    let responder = with(|host| host.responder.clone());
    let response = responder.map_or_else(|| Err(nobody()), |respond| respond(&request));
    answer("http_fetch", |_| Ok(Some(encode_response(&response?))))
}

fn nobody() -> HostError {
    HostError::new(
        "http_fetch.unreachable",
        "Say who answers: testing::answer_http.",
    )
}

fn answer(call: &str, work: impl FnOnce(&mut Host) -> Reply) -> Vec<u8> {
    encode(with(|host| {
        host.failures
            .get(call)
            .cloned()
            .map_or_else(|| work(host), Err)
    }))
}

fn encode(reply: Reply) -> Vec<u8> {
    match reply {
        Ok(Some(data)) => [&[DATA], data.as_slice()].concat(),
        Ok(None) => vec![ABSENT],
        Err(error) => [&[FAILED], error.to_string().as_bytes()].concat(),
    }
}

#[cfg(test)]
mod tests {
    use crate::kv;
    use crate::testing;

    #[test]
    fn a_sum_beyond_64_bits_fails_and_changes_nothing() {
        testing::reset();
        assert_eq!(kv::add("a/b", i64::MAX), Ok(i64::MAX));
        assert_eq!(
            kv::add("a/b", 1).expect_err("no room").code(),
            "kv.overflow"
        );
        assert_eq!(kv::add("a/b", 0), Ok(i64::MAX));
    }
}
