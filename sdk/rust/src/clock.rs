//! The time.
//!
//! Imports `now_ms`; needs the grant `now_ms`.

use crate::raw;

/// Unix time in milliseconds. It is no stopwatch: while the task computes it goes by the fuel used, and
/// it catches up with the world's after a call that waited for something outside.
#[must_use]
pub fn now_ms() -> i64 {
    raw::now_ms()
}
