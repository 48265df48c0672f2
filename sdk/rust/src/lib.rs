//! Write a Stockade task in Rust.
//!
//! A task is one function from bytes to bytes, or to a [`Rejection`]. [`task!`] exports it under the
//! ABI `stockade:v1`; build the crate as a `cdylib` for `wasm32-unknown-unknown`:
//!
//! ```
//! use stockade_guest::Rejection;
//!
//! fn shout(input: &[u8]) -> Result<Vec<u8>, Rejection> {
//!     let text = std::str::from_utf8(input)
//!         .map_err(|_| Rejection::permanent("the input is not UTF-8"))?;
//!     Ok(text.to_uppercase().into_bytes())
//! }
//!
//! stockade_guest::task!(shout);
//! ```
//!
//! Every run gets a fresh instance, so nothing needs to be freed and nothing survives but what is put
//! into [`kv`]. A module imports only what it uses: a pure function imports nothing, and a call to
//! [`kv::get`] adds `stockade:v1` `kv_get`, which the host sees before it runs anything and which the
//! function's grants must allow.
//!
//! Natively, as in unit tests, `testing` stands in for the host.

pub mod clock;
pub mod config;
pub mod events;
mod frame;
mod host_error;
pub mod http;
pub mod kv;
pub mod log;
pub mod progress;
pub mod random;
#[doc(hidden)]
pub mod raw;
mod rejection;
mod reply;
pub mod secrets;
pub mod spans;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
#[cfg(test)]
mod vectors;

pub use host_error::HostError;
pub use rejection::Rejection;

/// The code of these pages is compiled with the tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;

    #[doc = include_str!("../../../docs/how-to/host-calls.md")]
    struct HostCalls;
}
