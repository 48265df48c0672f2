//! The border: every raw import and export, and all of this crate's `unsafe`.
//!
//! Public only because [`task!`](crate::task) expands in the task's own crate.
#![allow(unsafe_code)]

use std::slice;

use crate::{Rejection, frame};

/// Exports a function `fn(&[u8]) -> Result<Vec<u8>, Rejection>` as this module's task.
#[macro_export]
macro_rules! task {
    ($run:path) => {
        const _: () = {
            #[unsafe(no_mangle)]
            extern "C" fn stockade_v1_alloc(size: usize) -> *mut u8 {
                $crate::raw::allocate(size)
            }

            #[unsafe(no_mangle)]
            extern "C" fn stockade_v1_run(pointer: *const u8, length: usize) -> u64 {
                // SAFETY: the host passes what it got from `stockade_v1_alloc`, and has filled it.
                unsafe { $crate::raw::answer(pointer, length, $run) }
            }
        };
    };
}

/// Memory for the host to write into: an input, which is never freed because the instance ends with
/// the run, or a reply.
#[must_use]
pub fn allocate(size: usize) -> *mut u8 {
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
}

/// What the host wrote into an allocation, which becomes ours.
///
/// # Safety
///
/// `pointer` came from [`allocate`] with this very length, is filled, and is nobody else's.
#[cfg(any(target_arch = "wasm32", test))]
unsafe fn reclaim(pointer: *mut u8, length: usize) -> Vec<u8> {
    // SAFETY: just what the caller promises.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(pointer, length)) }.into_vec()
}

/// Runs the task on the input at an address and returns its packed response frame.
///
/// # Safety
///
/// `length` initialised bytes lie at `pointer`, and nobody changes them meanwhile.
pub unsafe fn answer(
    pointer: *const u8,
    length: usize,
    run: impl FnOnce(&[u8]) -> Result<Vec<u8>, Rejection>,
) -> u64 {
    // SAFETY: just what the caller promises.
    let input = unsafe { slice::from_raw_parts(pointer, length) };
    let frame = frame::encode(run(input)).leak();
    frame::pack(to_u32(frame.as_ptr().addr()), to_u32(frame.len()))
}

/// An address or length as the ABI's 32 bits, which is all there is on wasm32.
#[allow(clippy::cast_possible_truncation)]
fn to_u32(value: usize) -> u32 {
    value as u32
}

/// The host calls of `stockade:v1`. Only those that are used are imported.
#[cfg(target_arch = "wasm32")]
mod host {
    #[link(wasm_import_module = "stockade:v1")]
    unsafe extern "C" {
        pub(super) fn log(level: i32, text: *const u8, length: usize);
        pub(super) fn config_get(name: *const u8, length: usize) -> u64;
        pub(super) fn now_ms() -> i64;
        pub(super) fn random(buffer: *mut u8, length: usize);
        pub(super) fn emit(name: *const u8, name_length: usize, data: *const u8, length: usize);
        pub(super) fn progress(percent: i32, message: *const u8, length: usize);
        pub(super) fn span_open(name: *const u8, length: usize) -> i32;
        pub(super) fn span_close(number: i32);
        pub(super) fn span_attribute(
            number: i32,
            name: *const u8,
            name_length: usize,
            value: *const u8,
            length: usize,
        );
        pub(super) fn secret_get(name: *const u8, length: usize) -> u64;
        pub(super) fn kv_get(key: *const u8, length: usize) -> u64;
        pub(super) fn kv_set(
            key: *const u8,
            key_length: usize,
            value: *const u8,
            length: usize,
            ttl_seconds: u32,
        ) -> u64;
        pub(super) fn kv_delete(key: *const u8, length: usize) -> u64;
        pub(super) fn kv_add(key: *const u8, length: usize, delta: i64) -> u64;
        pub(super) fn http_fetch(request: *const u8, length: usize) -> u64;
    }
}

#[cfg(target_arch = "wasm32")]
mod calls {
    use super::{host, reclaim};

    pub(crate) fn log(level: i32, message: &str) {
        // SAFETY: the host only reads, and only during the call.
        unsafe { host::log(level, message.as_ptr(), message.len()) }
    }

    pub(crate) fn config_get(name: &str) -> Vec<u8> {
        // SAFETY: the host only reads, and only during the call.
        take(unsafe { host::config_get(name.as_ptr(), name.len()) })
    }

    pub(crate) fn now_ms() -> i64 {
        // SAFETY: no memory is touched.
        unsafe { host::now_ms() }
    }

    pub(crate) fn random(buffer: &mut [u8]) {
        // SAFETY: the host writes into the buffer only, and only during the call.
        unsafe { host::random(buffer.as_mut_ptr(), buffer.len()) }
    }

    pub(crate) fn emit(name: &str, data: &str) {
        // SAFETY: the host only reads, and only during the call.
        unsafe { host::emit(name.as_ptr(), name.len(), data.as_ptr(), data.len()) }
    }

    pub(crate) fn report(percent: u8, message: &str) {
        // SAFETY: the host only reads, and only during the call.
        unsafe { host::progress(i32::from(percent), message.as_ptr(), message.len()) }
    }

    pub(crate) fn span_open(name: &str) -> i32 {
        // SAFETY: the host only reads, and only during the call.
        unsafe { host::span_open(name.as_ptr(), name.len()) }
    }

    pub(crate) fn span_close(number: i32) {
        // SAFETY: no memory is touched.
        unsafe { host::span_close(number) }
    }

    pub(crate) fn span_attribute(number: i32, name: &str, value: &str) {
        let (pointer, length) = (value.as_ptr(), value.len());
        // SAFETY: the host only reads, and only during the call.
        unsafe { host::span_attribute(number, name.as_ptr(), name.len(), pointer, length) }
    }

    pub(crate) fn secret_get(name: &str) -> Vec<u8> {
        // SAFETY: the host only reads, and only during the call.
        take(unsafe { host::secret_get(name.as_ptr(), name.len()) })
    }

    pub(crate) fn kv_get(key: &str) -> Vec<u8> {
        // SAFETY: the host only reads, and only during the call.
        take(unsafe { host::kv_get(key.as_ptr(), key.len()) })
    }

    pub(crate) fn kv_set(key: &str, value: &[u8], ttl_seconds: u32) -> Vec<u8> {
        let (pointer, length) = (value.as_ptr(), value.len());
        // SAFETY: the host only reads, and only during the call.
        take(unsafe { host::kv_set(key.as_ptr(), key.len(), pointer, length, ttl_seconds) })
    }

    pub(crate) fn kv_delete(key: &str) -> Vec<u8> {
        // SAFETY: the host only reads, and only during the call.
        take(unsafe { host::kv_delete(key.as_ptr(), key.len()) })
    }

    pub(crate) fn kv_add(key: &str, delta: i64) -> Vec<u8> {
        // SAFETY: the host only reads, and only during the call.
        take(unsafe { host::kv_add(key.as_ptr(), key.len(), delta) })
    }

    pub(crate) fn http_fetch(request: &[u8]) -> Vec<u8> {
        // SAFETY: the host only reads, and only during the call.
        take(unsafe { host::http_fetch(request.as_ptr(), request.len()) })
    }

    /// The bytes of a reply, whose place the host has packed.
    #[allow(clippy::cast_possible_truncation)]
    fn take(packed: u64) -> Vec<u8> {
        let pointer = std::ptr::with_exposed_provenance_mut((packed >> 32) as usize);
        // SAFETY: the ABI has the host pack what it got from `stockade_v1_alloc` for this reply.
        unsafe { reclaim(pointer, packed as u32 as usize) }
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) use calls::*;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::{
    config_get, emit, http_fetch, kv_add, kv_delete, kv_get, kv_set, log, now_ms, random, report,
    secret_get, span_attribute, span_close, span_open,
};

#[cfg(test)]
mod tests {
    use super::{allocate, answer, reclaim};

    #[test]
    fn an_allocation_holds_the_input_until_the_run() {
        let input = b"seven";
        let pointer = allocate(input.len());
        // SAFETY: `pointer` has room for the input, as the host relies on.
        unsafe { pointer.copy_from_nonoverlapping(input.as_ptr(), input.len()) };
        let mut seen = Vec::new();
        let run = |bytes: &[u8]| {
            seen = bytes.to_vec();
            Ok(bytes.to_vec())
        };
        // SAFETY: filled just above.
        let packed = unsafe { answer(pointer, input.len(), run) };
        assert_eq!(seen, input);
        assert_eq!(packed & 0xffff_ffff, 1 + input.len() as u64);
    }

    #[test]
    fn an_empty_input_is_fine() {
        // SAFETY: no bytes are read.
        let packed = unsafe { answer(allocate(0), 0, |input| Ok(input.to_vec())) };
        assert_eq!(packed & 0xffff_ffff, 1);
    }

    #[test]
    fn a_reply_becomes_ours_without_a_copy() {
        let pointer = allocate(3);
        // SAFETY: `pointer` has room for three bytes, is filled, and used only once afterwards.
        let reply = unsafe {
            pointer.copy_from_nonoverlapping(b"\0hi".as_ptr(), 3);
            reclaim(pointer, 3)
        };
        assert_eq!(reply, b"\0hi");
        assert_eq!(reply.as_ptr(), pointer.cast_const());
    }
}
