//! The declared bounds of a stream's series, by value field.

use std::sync::Arc;

use crate::forecast::ValueBounds;

/// Bounds of the series of each value field. A series has the bounds of the longest suffix that its key ends with; none
/// where there is no such suffix.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FieldBounds(Arc<[(String, ValueBounds)]>);

impl FieldBounds {
    /// Bounds for the series whose keys end with each suffix. Fields without bounds take part: their suffix may be the
    /// longer one.
    pub fn new(fields: impl IntoIterator<Item = (String, ValueBounds)>) -> Self {
        let mut fields: Vec<_> = fields.into_iter().collect();
        if fields.iter().all(|(_, bounds)| *bounds == ValueBounds::default()) {
            return Self::default();
        }
        fields.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        Self(fields.into())
    }

    /// The same bounds for all series.
    pub fn of_all(bounds: ValueBounds) -> Self {
        Self::new([(String::new(), bounds)])
    }

    /// The bounds of a series.
    pub fn of_series(&self, key: &str) -> ValueBounds {
        self.0.iter().find(|(suffix, _)| key.ends_with(suffix)).map(|(_, bounds)| *bounds).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_the_bounds_of_its_field() {
        let (any, positive) = (ValueBounds::default(), ValueBounds::new(Some(0.0), None, false).unwrap());
        let bounds = FieldBounds::new([(":kwh".into(), positive), (":temperature".into(), any)]);
        let of = |bounds: &FieldBounds, key| bounds.of_series(key) == positive;
        assert!(of(&bounds, "a:kwh") && !of(&bounds, "a:kwh:temperature") && !of(&bounds, "kwh"));
        // Without a key, the field alone names the series.
        let bounds = FieldBounds::new([("wh".into(), positive), ("kwh".into(), any)]);
        assert!(of(&bounds, "wh") && !of(&bounds, "kwh"));
        let all = FieldBounds::of_all(positive);
        assert!(of(&all, "") && of(&all, "a") && !of(&FieldBounds::default(), "a"));
    }
}
