//! HTTP requests to where the function's grants allow.
//!
//! Imports `http_fetch`; needs a grant such as `http_fetch:GET https://api.example.com/v1/`.

mod message;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use message::{decode_request, encode_response};

use crate::{HostError, raw, reply};

/// A request, sent by [`Request::send`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request of any method.
    #[must_use]
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A request that reads.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A request that hands something over; see [`Request::body`].
    #[must_use]
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header. The host sets `host` and `content-length`.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request and waits for the whole response, whatever its status.
    ///
    /// # Errors
    ///
    /// It was not granted, could not be sent, or brought no response: a code `http_fetch.…`. So too
    /// a method or header that would break out of its line.
    ///
    /// # Panics
    ///
    /// Never, but with a broken host.
    pub fn send(&self) -> Result<Response, HostError> {
        let request = message::encode(self)?;
        let response = reply::decode_data(raw::http_fetch(&request))?;
        Ok(message::decode(response).expect("the host's response is malformed"))
    }
}

/// What a server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status, such as 200.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// Whether the status is one of success: 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of a name, which is compared without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|header| header.0.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Request, Response};
    use crate::{HostError, testing};

    #[test]
    fn a_request_reaches_the_stand_in_and_brings_its_response() {
        testing::reset();
        testing::answer_http(|request| {
            let expected = Request::post("https://example.com/")
                .header("x-one", "1")
                .body("hi");
            assert_eq!(*request, expected);
            Ok(Response {
                status: 201,
                headers: vec![("location".into(), "/2".into())],
                body: b"made".to_vec(),
            })
        });
        let request = Request::post("https://example.com/")
            .header("x-one", "1")
            .body("hi");
        let response = request.send().expect("a response");
        assert_eq!((response.status, response.is_success()), (201, true));
        assert_eq!(response.header("Location"), Some("/2"));
        assert_eq!(response.header("x-none"), None);
        assert_eq!(response.body, b"made");
    }

    #[test]
    fn nothing_answers_unless_a_test_says_so() {
        testing::reset();
        let sent = Request::get("https://example.com/").send();
        assert_eq!(sent.expect_err("nobody").code(), "http_fetch.unreachable");
    }

    #[test]
    fn a_failure_is_no_response() {
        testing::reset();
        let refusal = HostError::new("http_fetch.not_granted", "Grant it.");
        let told = refusal.clone();
        testing::answer_http(move |_| Err(told.clone()));
        assert_eq!(Request::get("https://example.com/").send(), Err(refusal));
    }

    #[test]
    fn only_statuses_of_success_are() {
        for (status, success) in [(199, false), (200, true), (299, true), (300, false)] {
            let response = Response {
                status,
                ..Response::default()
            };
            assert_eq!(response.is_success(), success);
        }
    }
}
