//! Files of the checks of the library, which start other processes: `tests/inbox`.

#[path = "../../../../tests/inbox/database.rs"]
pub mod database;
#[path = "../../../../tests/inbox/figures.rs"]
pub mod figures;
#[path = "../../../../tests/inbox/marks.rs"]
pub mod marks;
#[path = "../../../../tests/inbox/process.rs"]
pub mod process;
#[path = "../../../../tests/inbox/wire.rs"]
pub mod wire;
