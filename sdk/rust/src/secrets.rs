//! Secrets of the tenant, which stand in no record and no log.
//!
//! Imports `secret_get`; needs the grant `secret:NAME` for each.

use std::fmt;

use crate::{HostError, raw, reply};

/// The value of a secret. Formatting one shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The value as it was stored.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value as text; `None` when it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// A secret; `None` when the tenant has none of this name.
///
/// # Errors
///
/// It was not granted, or cannot be read now.
///
/// # Panics
///
/// Never, but with a broken host.
pub fn get(name: &str) -> Result<Option<Secret>, HostError> {
    Ok(reply::decode(raw::secret_get(name))?.map(Secret))
}

#[cfg(test)]
mod tests {
    use super::{Secret, get};
    use crate::testing;

    #[test]
    fn a_secret_is_read_but_never_shown() {
        testing::reset();
        assert_eq!(get("TOKEN"), Ok(None));
        testing::set_secret("TOKEN", "swordfish");
        let secret = get("TOKEN").expect("granted").expect("a secret");
        assert_eq!(secret.text(), Some("swordfish"));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(Secret(vec![0xff]).text(), None);
    }
}
