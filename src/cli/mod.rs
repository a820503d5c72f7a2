//! The verbs.

/// Parses the command line and runs the verb.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
