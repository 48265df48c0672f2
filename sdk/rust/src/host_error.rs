use std::error::Error;
use std::fmt;

use crate::Rejection;

/// Why a host call failed: it was not granted, a quota is used up, a server did not answer.
///
/// Turned into a [`Rejection`] by `?`, it is a permanent one; where a retry may help, say so with
/// `map_err(|error| Rejection::retryable(error.message()))`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    code: String,
    message: String,
}

impl HostError {
    /// An error as the host would tell it, for tests of tasks.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }

    /// The stable name of what went wrong, such as `http_fetch.not_granted`.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What went wrong and what to do, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code, self.message)
    }
}

impl Error for HostError {}

impl From<HostError> for Rejection {
    fn from(error: HostError) -> Self {
        Self::permanent(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::HostError;
    use crate::Rejection;

    #[test]
    fn a_question_mark_makes_a_permanent_rejection() {
        let run = || -> Result<(), Rejection> { Err(HostError::new("kv.full", "No room."))? };
        assert_eq!(run(), Err(Rejection::permanent("kv.full: No room.")));
    }
}
