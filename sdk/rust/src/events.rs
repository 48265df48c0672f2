//! Events in the run's record.
//!
//! Imports `emit`; needs the grant `emit`.

use crate::raw;

/// Adds an event. What does not fit into the run's bytes for events is dropped.
///
/// A name that is empty or longer than 64 bytes is a defect, and traps.
pub fn emit(name: &str, data: &str) {
    raw::emit(name, data);
}
