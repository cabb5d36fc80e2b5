//! The fixtures of this provider. A test compares the list with the folder.

use crate::provider::test_data::{TestData, test_data};

pub(super) const TEST_DATA: TestData = test_data! {
    "examplelab",
    marks: &["/id"],
    "result.amended"
    "result.ready"
    "result.withdrawn"
};
