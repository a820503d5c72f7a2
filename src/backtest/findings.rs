//! What was found out about a file, and why.

/// Something that was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What the file was taken for.
    pub what: String,
    /// What speaks for it.
    pub why: String,
    /// Whether it is said unasked, not only with an explanation.
    pub said: bool,
}

/// All that was found out about a file, in the order of reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// What was found out, as an array of texts.
    pub fn json(&self) -> Vec<&str> {
        self.0.iter().map(|finding| finding.what.as_str()).collect()
    }

    /// Adds what a reader must know.
    pub fn say(&mut self, what: String, why: String) {
        self.0.push(Finding { what, why, said: true });
    }

    /// Adds what is only shown with an explanation.
    pub fn note(&mut self, what: String, why: String) {
        self.0.push(Finding { what, why, said: false });
    }
}
