//! Why an architecture is refused.

/// A network that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A name that does not exist.
    #[error("unknown {what} \"{name}\": expected one of {expected}")]
    Unknown {
        /// What the name stands for, such as `cell`.
        what: &'static str,
        /// The name that was given.
        name: String,
        /// All names that exist.
        expected: String,
    },
    /// A size outside its limits.
    #[error("network: {what} is {value}, expected {min} to {max}")]
    Limit {
        /// Name of the size.
        what: &'static str,
        /// Its value.
        value: usize,
        /// Smallest value that is allowed.
        min: usize,
        /// Largest value that is allowed.
        max: usize,
    },
    /// Two settings that exclude each other.
    #[error("network: {0}")]
    Inconsistent(String),
}

/// Finds the variant of a name among `all`.
///
/// # Errors
/// [`SpecError::Unknown`] where no variant has that name.
pub(super) fn find_by_name<T: Copy, const N: usize>(
    what: &'static str,
    name: &str,
    all: [T; N],
    name_of: fn(T) -> &'static str,
) -> Result<T, SpecError> {
    all.into_iter().find(|variant| name_of(*variant) == name).ok_or_else(|| SpecError::Unknown {
        what,
        name: name.to_owned(),
        expected: all.map(name_of).join(", "),
    })
}
