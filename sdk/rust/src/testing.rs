//! A stand-in for the host, so that tasks can be tested natively.
//!
//! Each thread has its own, and so each test. There is nothing in it until a test puts it there; it
//! asks for no grants and forgets nothing when its time is up.
//!
//! ```
//! use stockade_guest::{config, testing};
//!
//! testing::set_config("GREETING", "hello");
//! assert_eq!(config::get("GREETING").unwrap().as_deref(), Some("hello"));
//! ```

mod host;

pub(crate) use host::{
    config_get, emit, http_fetch, kv_add, kv_delete, kv_get, kv_set, log, now_ms,
    progress as report, random, secret_get, span_attribute, span_close, span_open,
};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::HostError;
use crate::http::{Request, Response};

type Responder = Rc<dyn Fn(&Request) -> Result<Response, HostError>>;

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// A span that a task has opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpanOpened {
    /// Its name.
    pub name: String,
    /// The number of the one around it, from 1; 0 is the run.
    pub parent: usize,
    /// What was said about it.
    pub attributes: Vec<(String, String)>,
    /// Whether it was closed.
    pub closed: bool,
}

#[derive(Default)]
struct Host {
    config: BTreeMap<String, Vec<u8>>,
    secrets: BTreeMap<String, Vec<u8>>,
    values: BTreeMap<String, Vec<u8>>,
    failures: BTreeMap<String, HostError>,
    responder: Option<Responder>,
    now_ms: i64,
    random: u64,
    logs: Vec<(i32, String)>,
    events: Vec<(String, String)>,
    progress: Vec<(u8, String)>,
    spans: Vec<SpanOpened>,
}

fn with<T>(use_host: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(use_host)
}

/// Forgets everything, where tests share a thread.
pub fn reset() {
    with(|host| *host = Host::default());
}

/// Sets what [`config::get`](crate::config::get) finds.
pub fn set_config(name: &str, value: &str) {
    with(|host| host.config.insert(name.into(), value.into()));
}

/// Sets what [`secrets::get`](crate::secrets::get) finds.
pub fn set_secret(name: &str, value: impl Into<Vec<u8>>) {
    with(|host| host.secrets.insert(name.into(), value.into()));
}

/// Sets what [`clock::now_ms`](crate::clock::now_ms) tells.
pub fn set_now_ms(now_ms: i64) {
    with(|host| host.now_ms = now_ms);
}

/// Sets who answers requests.
pub fn answer_http(responder: impl Fn(&Request) -> Result<Response, HostError> + 'static) {
    with(|host| host.responder = Some(Rc::new(responder)));
}

/// Lets a host call, such as `kv_get`, fail from now on.
pub fn fail(call: &str, code: &str, message: &str) {
    with(|host| {
        host.failures
            .insert(call.into(), HostError::new(code, message))
    });
}

/// Levels and lines that were logged.
#[must_use]
pub fn logs() -> Vec<(i32, String)> {
    with(|host| host.logs.clone())
}

/// Names and data of events.
#[must_use]
pub fn events() -> Vec<(String, String)> {
    with(|host| host.events.clone())
}

/// Percentages and messages of progress.
#[must_use]
pub fn progress() -> Vec<(u8, String)> {
    with(|host| host.progress.clone())
}

/// Spans in the order in which they were opened; this host has room for all.
#[must_use]
pub fn spans() -> Vec<SpanOpened> {
    with(|host| host.spans.clone())
}

#[cfg(test)]
mod tests {
    use crate::{Rejection, clock, config, events, log, testing};

    #[test]
    fn what_a_task_tells_can_be_looked_at() {
        testing::reset();
        log::warn("odd");
        events::emit("order", "{}");
        assert_eq!(testing::logs(), [(3, "odd".to_owned())]);
        assert_eq!(testing::events(), [("order".to_owned(), "{}".to_owned())]);
    }

    #[test]
    fn time_and_settings_are_what_the_test_says() {
        testing::reset();
        assert_eq!((clock::now_ms(), config::get("MODE")), (0, Ok(None)));
        testing::set_now_ms(1_800_000_000_000);
        testing::set_config("MODE", "dry");
        assert_eq!(clock::now_ms(), 1_800_000_000_000);
        assert_eq!(config::get("MODE"), Ok(Some("dry".to_owned())));
    }

    #[test]
    fn nothing_is_left_after_a_reset() {
        testing::set_config("MODE", "dry");
        testing::fail("kv_get", "kv.unavailable", "Try again later.");
        testing::reset();
        assert_eq!(config::get("MODE"), Ok(None));
        assert_eq!(crate::kv::get("a/b"), Ok(None));
    }

    #[test]
    fn a_failed_call_can_reject_the_input() {
        testing::reset();
        testing::fail("config_get", "config.gone", "Look elsewhere.");
        let run = || -> Result<Option<String>, Rejection> { Ok(config::get("MODE")?) };
        assert_eq!(
            run(),
            Err(Rejection::permanent("config.gone: Look elsewhere."))
        );
    }
}
