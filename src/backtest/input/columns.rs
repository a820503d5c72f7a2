//! The roles of a file's columns.

use super::cells::listed;
use super::location::Location;
use super::spec::{Layout, ReadSpec, TimeColumn};
use crate::backtest::error::DataError;

/// The role of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// All cells so far are empty.
    Undecided,
    /// The column is a series.
    Series,
    /// The column is the time, the key or a covariate, or the specification does not name it.
    NotSeries,
    /// The column holds no numbers.
    Ignored,
}

/// The columns of the long layout.
#[derive(Debug, Clone, Copy)]
pub(super) struct LongColumns {
    pub(super) key: usize,
    pub(super) value: usize,
}

/// The columns of a file, by index.
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    pub(super) roles: Vec<Role>,
    pub(super) time: Option<usize>,
    pub(super) past_covariates: Vec<usize>,
    pub(super) future_covariates: Vec<usize>,
    /// `None` for the wide layout.
    pub(super) long: Option<LongColumns>,
}

impl Columns {
    /// Finds the columns that `spec` names.
    pub(super) fn new(location: Location<'_>, names: Vec<String>, spec: &ReadSpec) -> Result<Self, DataError> {
        let find = |name: &str| {
            let missing =
                || location.file_error(&format!("it has no column \"{name}\""), &format!("one of {}", listed(&names)));
            names.iter().position(|known| known == name).ok_or_else(missing)
        };
        let find_all = |named: &[String]| named.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>();
        let key = match &spec.layout {
            Layout::Long { key, .. } => Some(find(key)?),
            Layout::Wide { .. } => None,
        };
        let time = match &spec.time {
            TimeColumn::First => (0..names.len()).find(|column| Some(*column) != key),
            TimeColumn::Named(name) => Some(find(name)?),
            TimeColumn::None => None,
        };
        let mut roles = vec![Role::Undecided; names.len()];
        let mut long = None;
        match &spec.layout {
            Layout::Wide { columns } if columns.is_empty() => {}
            Layout::Wide { columns } => {
                roles.fill(Role::NotSeries);
                for column in find_all(columns)? {
                    roles[column] = Role::Series;
                }
            }
            Layout::Long { value, .. } => {
                roles.fill(Role::NotSeries);
                let last = (0..names.len()).rev().find(|column| Some(*column) != key && Some(*column) != time);
                let nothing = || location.file_error("it has no column of values", "columns of key, time and value");
                let value = value.as_deref().map(find).transpose()?.or(last).ok_or_else(nothing)?;
                long = key.map(|key| LongColumns { key, value });
            }
        }
        if let Some(time) = time {
            roles[time] = Role::NotSeries;
        }
        let (past_covariates, future_covariates) =
            (find_all(&spec.past_covariates)?, find_all(&spec.future_covariates)?);
        for (kind, columns) in [("past covariate", &past_covariates), ("future covariate", &future_covariates)] {
            for &column in columns {
                let uses = past_covariates.iter().chain(&future_covariates).filter(|other| **other == column).count();
                if roles[column] == Role::Series || time == Some(column) || uses > 1 {
                    let found = format!("the {kind} \"{}\" has more than one use", names[column]);
                    let expected = format!("{kind}s that are neither time nor series, each once");
                    return Err(location.file_error(&found, &expected));
                }
            }
        }
        past_covariates.iter().chain(&future_covariates).for_each(|column| roles[*column] = Role::NotSeries);
        for (column, name) in names.iter().enumerate() {
            if roles[column] != Role::NotSeries && names[..column].contains(name) {
                return Err(location.file_error(&format!("two columns have the name \"{name}\""), "unique names"));
            }
        }
        Ok(Self { names, roles, time, past_covariates, future_covariates, long })
    }

    /// The names of columns without numbers.
    pub(super) fn ignored(&self) -> Vec<String> {
        let ignored = self.roles.iter().zip(&self.names);
        let ignored = ignored.filter(|(role, _)| matches!(role, Role::Ignored | Role::Undecided));
        ignored.map(|(_, name)| name.clone()).collect()
    }
}
