use std::error::Error;
use std::fmt;

/// Why a task says no to its input.
///
/// A rejection is an answer, not a crash: the caller reads the message, and the host retries only
/// where the task itself says that this may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    message: String,
    retryable: bool,
}

impl Rejection {
    /// The same input will be rejected again.
    #[must_use]
    pub fn permanent(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retryable: false,
        }
    }

    /// Trying again later may help.
    #[must_use]
    pub fn retryable(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retryable: true,
        }
    }

    /// What the caller will read.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for Rejection {}
