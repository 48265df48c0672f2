//! Lines for the invocation's log.
//!
//! Using any of these makes the module import `stockade:v1` `log`. The host keeps a bounded number
//! of bytes per run; natively, as in unit tests, lines go to standard error and to `testing::logs`.

use crate::raw;

/// How much a line matters; the numbers are the ABI's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Level {
    /// Step by step.
    Trace = 0,
    /// For whoever looks for a fault.
    Debug = 1,
    /// The normal course of things.
    Info = 2,
    /// Odd, but the task goes on.
    Warn = 3,
    /// Something failed.
    Error = 4,
}

/// Writes a line at a level.
pub fn write(level: Level, message: &str) {
    raw::log(level as i32, message);
}

/// Writes a line at [`Level::Trace`].
pub fn trace(message: &str) {
    write(Level::Trace, message);
}

/// Writes a line at [`Level::Debug`].
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Writes a line at [`Level::Info`].
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Writes a line at [`Level::Warn`].
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Writes a line at [`Level::Error`].
pub fn error(message: &str) {
    write(Level::Error, message);
}
