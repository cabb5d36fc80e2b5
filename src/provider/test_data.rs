//! A provider's bodies and cases under `fixtures/`, embedded under the feature `testing`.

/// What tests know of one provider.
#[derive(Debug)]
pub(crate) struct TestData {
    /// Paths below `fixtures/`, and the bytes.
    pub(crate) fixtures: &'static [(&'static str, &'static [u8])],
    /// `fixtures/<provider>/cases.toml`.
    pub(crate) cases: &'static str,
    /// Where a text can be put so that a body is that of another event, as JSON pointers: the first that is there.
    pub(crate) marks: &'static [&'static str],
}

/// Embeds the fixtures of one provider, by the names of their files.
macro_rules! test_data {
    ($provider:literal, marks: $marks:expr, $($name:literal)*) => {
        $crate::provider::test_data::TestData {
            fixtures: &[$((
                concat!($provider, "/", $name, ".json"),
                include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/", $provider, "/", $name, ".json")),
            ),)*],
            cases: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/", $provider, "/cases.toml")),
            marks: $marks,
        }
    };
}
pub(crate) use test_data;
