//! Guesses which word a mistyped one stands for.

/// Longest prefix of a word, in characters, that is compared: it bounds the work on texts that are no words.
const LONGEST_WORD: usize = 64;

/// The one of `words` that is nearest to `text`; none where more than a third of it differs. Case does not count, nor
/// does a hyphen in place of an underscore.
pub fn closest<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text = normal_form(text);
    let near = words.map(|word| (strsim::osa_distance(&text, &normal_form(word)), word));
    near.min_by_key(|(distance, _)| *distance).filter(|(d, word)| *d <= word.len().div_ceil(3)).map(|(_, word)| word)
}

fn normal_form(word: &str) -> String {
    word.chars().take(LONGEST_WORD).collect::<String>().to_lowercase().replace('-', "_")
}
