//! `medhook init`: writes a commented config file for `medhook receive`.
//!
//! - `template`: the text of the file, with `comments`
//! - `options`: the lines for the options of a provider; `custom`: for the scheme of a custom one
//! - `given`: the values that the arguments give for some providers

mod comments;
mod custom;
mod given;
mod options;
mod template;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use self::given::{Given, GivenValues};
use self::template::Template;
use crate::failure::Failure;
use crate::output::print_text;
use crate::preset::Preset;
use crate::provider::{NamedProvider, named_provider_parser};
use crate::receive::{NOT_CHECKED, check_file};
use crate::verdict::Verdict;

/// Write a commented config file for `medhook receive`, and check it.
///
/// The file has an endpoint for each named provider, with the settings that are known
/// from its documentation. Each line marked FILL IN needs a value that only you know,
/// such as the header that you chose in the provider's portal. An existing file is never
/// overwritten.
///
/// Afterwards the file is checked as by `medhook receive --check`, and the next commands
/// are printed. The exit code is 0 if the file was written, also if secrets are missing.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  \
        medhook init fasten\n  \
        medhook init fasten cair --scheme hmac-sha256 --header X-API-KEY\n  \
        medhook init custom --preset whoop\n  \
        medhook init cair azodha --scheme hmac-sha256 --header cair=X-API-KEY --header azodha=X-Signature"
)]
pub(crate) struct InitArgs {
    /// Providers that send to this receiver; `custom` for any other sender
    #[arg(value_name = "PROVIDER", required = true, value_parser = named_provider_parser())]
    providers: Vec<NamedProvider>,
    /// File to write; `-` prints it instead
    #[arg(long, value_name = "FILE", default_value = "medhook.toml")]
    out: PathBuf,
    /// Scheme that authenticates deliveries, as chosen in the portal of the provider (azodha, cair, custom)
    #[arg(long, value_name = "[PROVIDER=]SCHEME")]
    scheme: Vec<Given>,
    /// Header of the signature or the secret, as chosen in the portal of the provider
    #[arg(long, value_name = "[PROVIDER=]NAME")]
    header: Vec<Given>,
    /// Settings of this provider, for custom
    #[arg(long, value_enum)]
    preset: Option<Preset>,
}

/// Runs the command.
pub(crate) fn run(args: &InitArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let values = GivenValues::check(&args.providers, &args.scheme, &args.header, args.preset)?;
    let shown = if is_standard_output(&args.out) { Path::new("medhook.toml") } else { &args.out };
    let template = Template::new(&args.providers, &values, shown)?;
    if is_standard_output(&args.out) {
        print_text(out, template.text())?;
        return Ok(Verdict::Success);
    }
    write_new(&args.out, template.text())?;
    let shown = args.out.display();
    let mut text = format!("wrote {shown}\n\n");
    match check_file(&args.out) {
        Ok(checked) => {
            let lines = checked.lines.iter().chain(&checked.warnings);
            lines.for_each(|line| text.push_str(&format!("{line}\n")));
            text.push_str(&format!("ok; {NOT_CHECKED}\n"));
        }
        Err(mistakes) => {
            text.push_str("still missing:\n");
            mistakes.iter().for_each(|mistake| text.push_str(&format!("  {mistake}\n")));
        }
    }
    text.push_str(&format!("\nnext:\n{}", template.next_commands()));
    print_text(out, &text)?;
    Ok(Verdict::Success)
}

fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes a file that does not exist yet.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let wrong = |problem: &dyn std::fmt::Display| Failure::new(format!("--out: {}: {problem}", path.display()));
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            wrong(&"exists already, and is not overwritten; choose another name, or print the file with `--out -`")
        }
        _ => wrong(&error),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("medhook.toml");
        write_new(&path, "first").unwrap();
        let failure = write_new(&path, "second").err().unwrap().to_string();
        assert!(failure.contains("exists already, and is not overwritten"), "{failure}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
    }
}
