//! A secret value that is never printed.

use std::{fmt, io, path::Path};

use serde::{Serialize, Serializer};

/// A password or token. `Debug`, `Display` and `Serialize` print `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `value`.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// Reads a secret from a file, without the line end that the file may end with.
    ///
    /// # Errors
    /// Where the file cannot be read as text.
    pub fn from_file(file: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(file)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(Self(line.strip_suffix('\r').unwrap_or(line).to_owned()))
    }

    /// The value in the clear, for a client that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}
