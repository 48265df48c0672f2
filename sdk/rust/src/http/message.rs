//! The bytes of requests and responses.

use super::{Request, Response};
use crate::HostError;

/// Puts a request into the bytes that the host reads.
///
/// What would break out of its line is refused here: the host could not tell it from what was meant.
pub(super) fn encode(request: &Request) -> Result<Vec<u8>, HostError> {
    if !is_token(&request.method) || !is_line(&request.url) {
        return Err(malformed("the method or the URL"));
    }
    let mut bytes = format!("{} {}\n", request.method, request.url).into_bytes();
    for (name, value) in &request.headers {
        if !is_token(name) || !is_line(value) {
            return Err(malformed("a header"));
        }
        bytes.extend_from_slice(format!("{name}: {value}\n").as_bytes());
    }
    bytes.push(b'\n');
    bytes.extend_from_slice(&request.body);
    Ok(bytes)
}

/// Reads a response, which only a broken host writes wrongly.
pub(super) fn decode(mut bytes: Vec<u8>) -> Option<Response> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    let body = bytes.split_off(end + 2);
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split('\n');
    let status = lines.next()?.parse().ok()?;
    let headers = lines.map(decode_header).collect::<Option<_>>()?;
    Some(Response {
        status,
        headers,
        body,
    })
}

fn decode_header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(": ")?;
    Some((name.to_owned(), value.to_owned()))
}

/// Whether a text is a token of HTTP: RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

fn is_line(text: &str) -> bool {
    !text.bytes().any(|byte| byte < b' ' || byte == 0x7f)
}

fn malformed(what: &str) -> HostError {
    let message = format!("Take the characters out of {what} that HTTP does not allow there.");
    HostError::new("http_fetch.malformed", message)
}

/// Reads a request back, for the stand-in of the host.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn decode_request(bytes: &[u8]) -> Option<Request> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    let mut lines = std::str::from_utf8(&bytes[..end]).ok()?.split('\n');
    let (method, url) = lines.next()?.split_once(' ')?;
    let mut request = Request::new(method, url).body(&bytes[end + 2..]);
    for line in lines {
        request.headers.push(decode_header(line)?);
    }
    Some(request)
}

/// Writes a response, for the stand-in of the host.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn encode_response(response: &Response) -> Vec<u8> {
    let mut head = format!("{}\n", response.status);
    for (name, value) in &response.headers {
        head.extend([&name.to_lowercase(), ": ", value, "\n"]);
    }
    head.push('\n');
    [head.as_bytes(), &response.body].concat()
}

#[cfg(test)]
mod tests {
    use super::{decode, decode_request, encode, encode_response};
    use crate::http::{Request, Response};
    use crate::vectors::{bytes, pairs, read, text};

    #[test]
    fn requests_are_written_as_the_vectors_say() {
        for vector in read("http_requests") {
            let mut request = Request::new(text(&vector["method"]), text(&vector["url"]));
            for (name, value) in pairs(&vector["headers"]) {
                request = request.header(name, value);
            }
            let request = request.body(bytes(&vector["body"]));
            assert_eq!(encode(&request), Ok(bytes(&vector["bytes"])), "{vector}");
            assert_eq!(
                decode_request(&bytes(&vector["bytes"])),
                Some(request),
                "{vector}"
            );
        }
    }

    #[test]
    fn responses_are_read_as_the_vectors_say() {
        for vector in read("http_responses") {
            let expected = Response {
                status: vector["status"]
                    .as_u64()
                    .and_then(|it| it.try_into().ok())
                    .expect("status"),
                headers: pairs(&vector["headers"]),
                body: bytes(&vector["body"]),
            };
            assert_eq!(
                encode_response(&expected),
                bytes(&vector["bytes"]),
                "{vector}"
            );
            assert_eq!(decode(bytes(&vector["bytes"])), Some(expected), "{vector}");
        }
    }

    #[test]
    fn what_would_break_out_of_its_line_is_refused() {
        let url = "https://example.com/";
        let smuggling = [
            Request::new("GET https://evil.example/\nx:", url),
            Request::new("", url),
            Request::new("GET\0", url),
            Request::get("https://example.com/\nx: y"),
            Request::get("https://example.com/\r"),
            Request::get(url).header("x: y\nz", "1"),
            Request::get(url).header("x y", "1"),
            Request::get(url).header("", "1"),
            Request::get(url).header("x", "1\ny: 2"),
            Request::get(url).header("x", "1\n\nbody"),
            Request::get(url).header("x", "\u{7f}"),
        ];
        for request in smuggling {
            assert_eq!(
                encode(&request).expect_err("refused").code(),
                "http_fetch.malformed"
            );
        }
    }

    #[test]
    fn a_malformed_response_is_none() {
        for bytes in [
            "",
            "200",
            "200\n",
            "many\n\n",
            "200\nno colon\n\n",
            "70000\n\n",
        ] {
            assert_eq!(decode(bytes.into()), None, "{bytes:?}");
        }
    }
}
