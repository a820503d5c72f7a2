//! Standard output of a command.

use std::io::{self, Write};

use super::failure::{CANNOT_WRITE, Failure};

/// Prints to standard output. A reader that closes the pipe early, such as `head`, is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure(CANNOT_WRITE, error.to_string())),
        _ => Ok(()),
    }
}
