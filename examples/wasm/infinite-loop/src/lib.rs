//! A hostile guest: it says hello and never comes back. The fuel limit stops it.

use std::hint::black_box;

use stockade_guest::{Rejection, log};

stockade_guest::task!(spin);

fn spin(_input: &[u8]) -> Result<Vec<u8>, Rejection> {
    log::info("this will not end by itself");
    let mut steps = 0_u64;
    loop {
        steps = black_box(steps.wrapping_add(1));
    }
}
