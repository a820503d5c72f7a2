//! Former names of keys and of words, each with the name to use instead. They serve suggestions only: no former name is
//! accepted.

/// Former and present names of keys. A former name counts in every table that has the present one.
pub const KEYS: &[(&str, &str)] = &[
    ("arrangement", "strategy"),
    ("calm", "clear_after"),
    ("covariates", "past_covariates"),
    ("epoch_bytes", "transaction_bytes"),
    ("epoch_records", "transaction_records"),
    ("held_out", "validation_share"),
    ("known", "future_covariates"),
    ("lanes", "batch_size"),
    ("rounded", "bf16"),
];

/// Former and present values of keys that take one of a few words.
pub const WORDS: &[(&str, &str)] = &[("iterated", "recursive"), ("many_to_many", "direct")];

/// The present name of a former one; none where `name` is not in `table`.
pub fn present_name(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(former, _)| *former == name).map(|(_, present)| *present)
}
