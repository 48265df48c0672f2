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
//! Every run gets a fresh instance, so nothing needs to be freed and nothing survives. A module
//! imports only what it uses: a pure function imports nothing, and a call to [`mod@log`] adds
//! `stockade:v1` `log`, which the host sees before it runs anything.

mod frame;
pub mod log;
#[doc(hidden)]
pub mod raw;
mod rejection;

pub use rejection::Rejection;
