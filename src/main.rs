//! The binary: everything is in `cli`.

fn main() -> std::process::ExitCode {
    foretide::cli::main()
}
