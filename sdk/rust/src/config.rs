//! Settings of the deployed function: the `env` of its version.
//!
//! Imports `config_get`; needs the grant `config_get`.

use crate::{HostError, raw, reply};

/// The value of a setting; `None` when the version has none of this name.
///
/// # Errors
///
/// The host's word on why it did not look.
///
/// # Panics
///
/// Never, but with a broken host.
pub fn get(name: &str) -> Result<Option<String>, HostError> {
    let value = reply::decode(raw::config_get(name))?;
    Ok(value.map(|bytes| String::from_utf8(bytes).expect("the host's settings are UTF-8")))
}
