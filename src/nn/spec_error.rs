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

/// Defines an enum whose variants have names: `ALL`, `name()`, `Display` and `FromStr`.
macro_rules! named_enum {
    (
        $(#[$attribute:meta])*
        pub enum $enum:ident($what:literal) {
            $($(#[$variant_attribute:meta])* $variant:ident = $name:literal),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        pub enum $enum {
            $($(#[$variant_attribute])* #[serde(rename = $name)] $variant),*
        }

        impl $enum {
            /// Every variant, in the order of the documentation.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name in settings, fingerprints and messages.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.name())
            }
        }

        impl std::str::FromStr for $enum {
            type Err = SpecError;

            fn from_str(name: &str) -> Result<Self, SpecError> {
                Self::ALL.into_iter().find(|variant| variant.name() == name).ok_or_else(|| SpecError::Unknown {
                    what: $what,
                    name: name.to_owned(),
                    expected: Self::ALL.map(Self::name).join(", "),
                })
            }
        }
    };
}
pub(super) use named_enum;
