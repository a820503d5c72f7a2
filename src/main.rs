//! Parse, load the settings, start telemetry, run the verb.

fn main() -> std::process::ExitCode {
    foretide::cli::main()
}
