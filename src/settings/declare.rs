//! Macros that declare the keys of a table with their types, documentation and defaults in one place, and derive the
//! reader of the table from them.

/// Declares a table of the configuration: a struct whose fields are its keys, each with a type and a default.
///
/// `required` names the keys without a meaningful default, each with an example. The default of such a key only takes
/// its place while further mistakes are collected.
macro_rules! table {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $( $(#[$note:meta])* pub $key:ident : $kind:ty = $default:expr ),+ $(,)?
        }
        $( required { $($must:ident : $example:literal),+ $(,)? } )?
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        pub struct $name { $( $(#[$note])* pub $key: $kind, )+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default, )+ }
            }
        }

        impl $crate::settings::reader::Setting for $name {
            fn read(
                entry: $crate::settings::reader::Entry,
                reader: &mut $crate::settings::reader::Reader,
            ) -> Option<Self> {
                let mut table = reader.table(entry, &[$( stringify!($key) ),+])?;
                let defaults = Self::default();
                let settings = Self { $( $key: table.read(stringify!($key), defaults.$key, reader), )+ };
                $( $( table.require(stringify!($must), $example, reader); )+ )?
                Some(settings)
            }
        }
    };
}

/// Declares a setting whose value is one of a few words.
macro_rules! words {
    (
        $(#[$about:meta])*
        pub enum $name:ident { $( $(#[$note:meta])* $variant:ident = $word:literal ),+ $(,)? }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $( $(#[$note])* $variant, )+ }

        impl $name {
            /// All words that the configuration may hold.
            pub const WORDS: &'static [&'static str] = &[$( $word ),+];

            /// The word for this value in the configuration.
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }

            /// The value that `word` names.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $( $word => Some(Self::$variant), )+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl $crate::settings::reader::Setting for $name {
            fn read(
                entry: $crate::settings::reader::Entry,
                reader: &mut $crate::settings::reader::Reader,
            ) -> Option<Self> {
                reader.word(&entry, Self::WORDS).as_deref().and_then(Self::from_word)
            }
        }
    };
}

pub(crate) use {table, words};
