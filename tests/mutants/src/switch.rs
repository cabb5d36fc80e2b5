
/// Mutants, each of which can be switched on: the one whose number is in `MEDHOOK_MUTANT`. Without this variable, the
/// number of each mutant that is reached is written to the file `MEDHOOK_MUTANTS_REACHED`.
#[doc(hidden)]
#[allow(warnings, clippy::all, reason = "a copy of the repository for mutation testing")]
pub mod mutants {
    use std::fs::File;
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    static ON: OnceLock<usize> = OnceLock::new();
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    static REACHED: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];

    pub fn on(number: usize) -> bool {
        let on = *ON.get_or_init(|| match std::env::var("MEDHOOK_MUTANT") {
            Ok(on) => on.parse().expect("a number"),
            Err(_) => usize::MAX,
        });
        if on == usize::MAX && !REACHED[number].swap(true, Ordering::Relaxed) {
            let file = FILE.get_or_init(|| {
                let path = std::env::var_os("MEDHOOK_MUTANTS_REACHED")?;
                File::options().append(true).create(true).open(path).ok()
            });
            if let Some(mut file) = file.as_ref() {
                // One write, so that lines of several threads and processes are not mixed.
                file.write_all(format!("{number}\n").as_bytes()).expect("the file of reached mutants");
            }
        }
        on == number
    }
}
