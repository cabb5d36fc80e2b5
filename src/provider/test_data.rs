//! A provider's bodies and test cases under `fixtures/`, embedded with the feature `testing`.

/// The test data of one provider.
#[derive(Debug)]
pub(crate) struct TestData {
    /// Paths below `fixtures/`, with the bytes of each file.
    pub(crate) fixtures: &'static [(&'static str, &'static [u8])],
    /// The text of `fixtures/<provider>/cases.toml`.
    pub(crate) cases: &'static str,
    /// JSON pointers to texts that identify an event. Replacing the first that exists makes the body another event's.
    pub(crate) marks: &'static [&'static str],
}

/// Embeds the fixtures of one provider by file name.
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
