//! The border: every raw import and export, and all of this crate's `unsafe`.
//!
//! Public only because [`task!`](crate::task) expands in the task's own crate.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
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

/// Memory for the host to write into. It is never freed: the instance ends with the run.
#[must_use]
pub fn allocate(size: usize) -> *mut u8 {
    ManuallyDrop::new(Vec::with_capacity(size)).as_mut_ptr()
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

/// Hands a line to the host.
#[cfg(target_arch = "wasm32")]
pub(crate) fn log(level: i32, message: &str) {
    #[link(wasm_import_module = "stockade:v1")]
    unsafe extern "C" {
        fn log(level: i32, pointer: *const u8, length: usize);
    }
    // SAFETY: the host only reads, and only during the call.
    unsafe { log(level, message.as_ptr(), message.len()) }
}

/// Stands in for the host, so that tasks can be tested natively.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn log(level: i32, message: &str) {
    eprintln!("[{level}] {message}");
}

#[cfg(test)]
mod tests {
    use super::{allocate, answer};

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
}
