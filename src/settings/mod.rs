//! TOML to checked types, with errors that point at the line.
