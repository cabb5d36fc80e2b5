//! The comparisons of `medhook receive`, from its own files. The modules have their paths of the program, because their
//! items are visible there only.

mod operations;

pub use self::operations::groups;
