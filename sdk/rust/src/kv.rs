//! Values that outlive a run, in namespaces of the tenant.
//!
//! A key reads `NAMESPACE/KEY`. Imports `kv_get`, `kv_set`, `kv_delete` or `kv_add`, whichever is
//! used; needs the grant `kv:NAMESPACE`, or `kv:NAMESPACE:read` if it only reads.

use crate::{HostError, raw, reply};

/// The value of a key; `None` when it has none.
///
/// # Errors
///
/// It was not granted, the key is no key, or the store is away.
///
/// # Panics
///
/// Never, but with a broken host.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, HostError> {
    reply::decode(raw::kv_get(key))
}

/// Sets a key for good.
///
/// # Errors
///
/// As [`get`], or the value is too large or the tenant's quota used up.
///
/// # Panics
///
/// Never, but with a broken host.
pub fn set(key: &str, value: &[u8]) -> Result<(), HostError> {
    reply::decode(raw::kv_set(key, value, 0)).map(drop)
}

/// Sets a key for some seconds; 0 is for good.
///
/// # Errors
///
/// As [`set`].
///
/// # Panics
///
/// Never, but with a broken host.
pub fn set_for(key: &str, value: &[u8], seconds: u32) -> Result<(), HostError> {
    reply::decode(raw::kv_set(key, value, seconds)).map(drop)
}

/// Removes a key, and says whether it was there.
///
/// # Errors
///
/// As [`get`].
///
/// # Panics
///
/// Never, but with a broken host.
pub fn delete(key: &str) -> Result<bool, HostError> {
    Ok(reply::decode(raw::kv_delete(key))?.is_some())
}

/// Adds to the whole number of a key, at once for all who do, and returns the new one.
///
/// The value is kept as decimal text; an absent key counts as 0.
///
/// # Errors
///
/// As [`set`], or the value is no whole number, or the sum has no room in 64 bits.
///
/// # Panics
///
/// Never, but with a broken host.
pub fn add(key: &str, delta: i64) -> Result<i64, HostError> {
    let sum = reply::decode_data(raw::kv_add(key, delta))?;
    Ok(decode_sum(&sum))
}

fn decode_sum(data: &[u8]) -> i64 {
    i64::from_le_bytes(data.try_into().expect("the host's sum has 8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::{add, decode_sum, delete, get, set, set_for};
    use crate::testing;
    use crate::vectors::{bytes, read, text};

    #[test]
    fn a_value_is_kept_until_it_is_deleted() {
        testing::reset();
        assert_eq!(get("orders/1"), Ok(None));
        set("orders/1", b"two").expect("room");
        assert_eq!(get("orders/1"), Ok(Some(b"two".to_vec())));
        assert_eq!(delete("orders/1"), Ok(true));
        assert_eq!(delete("orders/1"), Ok(false));
    }

    #[test]
    fn a_number_grows_from_nothing() {
        testing::reset();
        assert_eq!(add("hits/all", 2), Ok(2));
        assert_eq!(add("hits/all", -5), Ok(-3));
        assert_eq!(get("hits/all"), Ok(Some(b"-3".to_vec())));
    }

    #[test]
    fn what_is_no_number_stays_as_it_is() {
        testing::reset();
        set_for("hits/all", b"many", 60).expect("room");
        assert_eq!(
            add("hits/all", 1).expect_err("no number").code(),
            "kv.not_a_number"
        );
        assert_eq!(get("hits/all"), Ok(Some(b"many".to_vec())));
    }

    #[test]
    fn a_failure_is_told_by_its_code() {
        testing::reset();
        testing::fail("kv_set", "kv.quota_exceeded", "The tenant's store is full.");
        let error = set("orders/1", b"").expect_err("no room");
        assert_eq!(
            (error.code(), error.message()),
            ("kv.quota_exceeded", "The tenant's store is full.")
        );
    }

    #[test]
    fn sums_are_read_as_the_vectors_say() {
        for vector in read("sums") {
            let expected: i64 = text(&vector["sum"]).parse().expect("a number");
            assert_eq!(decode_sum(&bytes(&vector["data"])), expected, "{vector}");
        }
    }
}
