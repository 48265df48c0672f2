//! Makes the host calls that its input asks for, one a line, and tells what came of each.

use std::fmt::Write;

use stockade_guest::http::{Request, Response};
use stockade_guest::{
    HostError, Rejection, clock, config, events, kv, log, progress, random, secrets, spans,
};

const MOST_RANDOM_BYTES: usize = 100_000;

stockade_guest::task!(run);

fn run(input: &[u8]) -> Result<Vec<u8>, Rejection> {
    let text = std::str::from_utf8(input).map_err(|_| no("the input is not UTF-8"))?;
    let mut told = String::new();
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let _ = writeln!(told, "{name}: {}", call(name, rest)?);
    }
    Ok(told.into_bytes())
}

fn call(name: &str, rest: &str) -> Result<String, Rejection> {
    match name {
        "log" => write_log(words(rest)?),
        "config_get" => Ok(tell(config::get(rest))),
        "now_ms" => Ok(clock::now_ms().to_string()),
        "random" => show_random(number(rest)?),
        "emit" => emit(words(rest)?),
        "progress" => report(words(rest)?),
        "span" => record(words(rest)?),
        "secret_get" => Ok(tell(secrets::get(rest).map(measure))),
        "http_fetch" => fetch(rest),
        _ => call_store(name, rest),
    }
}

fn call_store(name: &str, rest: &str) -> Result<String, Rejection> {
    match name {
        "kv_get" => Ok(tell(kv::get(rest).map(|value| value.map(as_text)))),
        "kv_set" => set(words(rest)?),
        "kv_delete" => Ok(tell(kv::delete(rest).map(|found| found.then(String::new)))),
        "kv_add" => add(words(rest)?),
        _ => Err(no(format!(
            "there is no host call {name:?}; name one a line"
        ))),
    }
}

fn write_log([level, message]: [&str; 2]) -> Result<String, Rejection> {
    let write = match level {
        "trace" => log::trace,
        "debug" => log::debug,
        "info" => log::info,
        "warn" => log::warn,
        "error" => log::error,
        _ => return Err(no("a level is trace, debug, info, warn or error")),
    };
    write(message);
    Ok("ok".to_owned())
}

fn show_random(size: usize) -> Result<String, Rejection> {
    if size > MOST_RANDOM_BYTES {
        return Err(no(format!("ask for at most {MOST_RANDOM_BYTES} bytes")));
    }
    let mut bytes = vec![0; size];
    random::fill(&mut bytes);
    let mut digits = String::with_capacity(2 * size);
    for byte in bytes {
        let _ = write!(digits, "{byte:02x}");
    }
    Ok(digits)
}

fn emit([name, data]: [&str; 2]) -> Result<String, Rejection> {
    if name.is_empty() || name.len() > 64 {
        return Err(no("an event's name has 1 to 64 bytes"));
    }
    events::emit(name, data);
    Ok("ok".to_owned())
}

fn report([percent, message]: [&str; 2]) -> Result<String, Rejection> {
    progress::report(number(percent)?, message);
    Ok("ok".to_owned())
}

/// A step named by the first word, and one within it that has the third word as an attribute.
fn record([outer, inner, value]: [&str; 3]) -> Result<String, Rejection> {
    if [outer, inner]
        .iter()
        .any(|name| name.is_empty() || name.len() > 64)
    {
        return Err(no("a span's name has 1 to 64 bytes"));
    }
    let _around = spans::open(outer);
    let within = spans::open(inner);
    within.attribute("value", value);
    Ok("ok".to_owned())
}

fn set([key, seconds, value]: [&str; 3]) -> Result<String, Rejection> {
    let kept = kv::set_for(key, value.as_bytes(), number(seconds)?);
    Ok(tell(kept.map(|()| Some(String::new()))))
}

fn add([key, delta]: [&str; 2]) -> Result<String, Rejection> {
    Ok(tell(
        kv::add(key, number(delta)?).map(|sum| Some(sum.to_string())),
    ))
}

/// `METHOD URL`, then perhaps `NAME:VALUE` of a header, then perhaps the body.
fn fetch(rest: &str) -> Result<String, Rejection> {
    let mut parts = rest.splitn(4, ' ');
    let (Some(method), Some(url)) = (parts.next(), parts.next()) else {
        return Err(no("http_fetch wants a method and a URL"));
    };
    let mut request = Request::new(method, url);
    if let Some((name, value)) = parts.next().and_then(|header| header.split_once(':')) {
        request = request.header(name, value);
    }
    let sent = request.body(parts.next().unwrap_or_default()).send();
    Ok(tell(sent.map(|response| Some(show(response)))))
}

fn show(response: Response) -> String {
    let kind = response.header("content-type").unwrap_or("-").to_owned();
    format!("{} {kind} {}", response.status, as_text(response.body))
}

/// A secret's value is nobody's business; its size shows that it came.
fn measure(secret: Option<secrets::Secret>) -> Option<String> {
    secret.map(|value| format!("{} bytes", value.bytes().len()))
}

fn as_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|_| "(no text)".to_owned())
}

fn tell(result: Result<Option<String>, HostError>) -> String {
    match result {
        Ok(Some(value)) if value.is_empty() => "ok".to_owned(),
        Ok(Some(value)) => format!("ok {value}"),
        Ok(None) => "absent".to_owned(),
        Err(error) => format!("failed {}", error.code()),
    }
}

/// So many words; the last may hold blanks.
fn words<const N: usize>(rest: &str) -> Result<[&str; N], Rejection> {
    let found: Vec<&str> = rest.splitn(N, ' ').collect();
    let wanted = || no(format!("expected {N} words, found {rest:?}"));
    found.try_into().map_err(|_| wanted())
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Rejection> {
    text.parse()
        .map_err(|_| no(format!("{text:?} is no number here")))
}

fn no(message: impl Into<String>) -> Rejection {
    Rejection::permanent(message)
}

#[cfg(test)]
mod tests {
    use super::run;
    use stockade_guest::http::Response;
    use stockade_guest::testing;

    fn told(input: &str) -> String {
        String::from_utf8(run(input.as_bytes()).expect("an output")).expect("UTF-8")
    }

    #[test]
    fn values_come_and_go() {
        testing::reset();
        let asked =
            "kv_set a/b 60 two words\nkv_get a/b\nkv_delete a/b\nkv_delete a/b\nkv_add a/n -4";
        let expected = "kv_set: ok\nkv_get: ok two words\nkv_delete: ok\nkv_delete: absent\n\
                        kv_add: ok -4\n";
        assert_eq!(told(asked), expected);
    }

    #[test]
    fn a_response_is_shown() {
        testing::reset();
        testing::answer_http(|request| {
            Ok(Response {
                status: 200,
                headers: vec![("content-type".into(), "text/plain".into())],
                body: format!("{request:?}").into_bytes(),
            })
        });
        let shown = told("http_fetch PUT https://example.com/ x-one:1 the body");
        assert!(shown.starts_with("http_fetch: ok 200 text/plain Request { method: \"PUT\""));
    }

    #[test]
    fn a_secret_is_not_shown() {
        testing::reset();
        testing::set_secret("TOKEN", "swordfish");
        assert_eq!(told("secret_get TOKEN"), "secret_get: ok 9 bytes\n");
    }

    #[test]
    fn a_failure_is_told_by_its_code() {
        testing::reset();
        testing::fail("config_get", "config_get.failed", "No.");
        assert_eq!(
            told("config_get A"),
            "config_get: failed config_get.failed\n"
        );
    }

    #[test]
    fn what_makes_no_sense_is_rejected() {
        testing::reset();
        for input in [
            "",
            "dance",
            "log",
            "log loud x",
            "emit  x",
            "kv_set a/b 60",
            "random -1",
            "span a",
            "span  b c",
        ] {
            assert!(run(input.as_bytes()).is_err(), "{input:?}");
        }
    }
}
