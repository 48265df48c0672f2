//! The test vectors of `sdk/abi`.

use serde_json::Value;

/// One section of the file.
pub(crate) fn read(section: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../../abi/vectors.json")).expect("JSON");
    let vectors = file[section].as_array().expect("a section").clone();
    assert!(!vectors.is_empty());
    vectors
}

/// A text.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Bytes, written in hexadecimal digits.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    let digits = text(value);
    (0..digits.len())
        .step_by(2)
        .map(|place| u8::from_str_radix(&digits[place..place + 2], 16).expect("hexadecimal"))
        .collect()
}

/// Names and values of headers.
pub(crate) fn pairs(value: &Value) -> Vec<(String, String)> {
    let pairs = value.as_array().expect("a list").iter();
    pairs
        .map(|pair| (text(&pair[0]).to_owned(), text(&pair[1]).to_owned()))
        .collect()
}
