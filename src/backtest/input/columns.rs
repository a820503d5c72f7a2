//! The roles of a file's columns.

use super::cells::listed;
use super::location::Location;
use super::long::find_long;
use super::names::{is_index, is_time};
use super::profile::{Kind, Profile, Sample};
use super::spec::{Layout, ReadSpec, TimeColumn};
use super::time_columns::{find_time, named_parts};
use super::time_parts::TimeParts;
use crate::backtest::error::DataError;
use crate::backtest::findings::Findings;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LongColumns {
    /// The columns that together name the series.
    pub(super) keys: Vec<usize>,
    pub(super) value: usize,
}

/// The columns of a file, by index.
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    pub(super) roles: Vec<Role>,
    pub(super) time: Option<TimeParts>,
    pub(super) past_covariates: Vec<usize>,
    pub(super) future_covariates: Vec<usize>,
    /// `None` for the wide layout.
    pub(super) long: Option<LongColumns>,
    /// Columns that would name the series if the file were read as a long one.
    pub(super) likely_keys: Vec<usize>,
}

impl Columns {
    /// Finds the columns that `spec` names, and others by what they hold.
    pub(super) fn new(
        location: Location<'_>,
        sample: &Sample<'_>,
        spec: &ReadSpec,
        findings: &mut Findings,
    ) -> Result<Self, DataError> {
        let names = sample.names.to_vec();
        let find = |name: &str| {
            let missing =
                || location.file_error(&format!("it has no column \"{name}\""), &format!("one of {}", listed(&names)));
            names.iter().position(|known| known == name).ok_or_else(missing)
        };
        let find_all = |named: &[String]| named.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>();
        // One column, or several separated by commas.
        let find_joined = |joined: &str| match find(joined) {
            Err(_) if joined.contains(',') => joined.split(',').map(|name| find(name.trim())).collect(),
            found => found.map(|column| vec![column]),
        };
        let keys = match &spec.layout {
            Layout::Long { key, .. } => find_joined(key)?,
            Layout::Wide { .. } => Vec::new(),
        };
        let profiles = sample.profiles();
        let time = match &spec.time {
            TimeColumn::Found => find_time(sample, &profiles, &keys, findings),
            TimeColumn::Named(name) => Some(named_parts(sample, &profiles, &find_joined(name)?)),
            TimeColumn::None => None,
        };
        let is_time = |column: usize| time.as_ref().is_some_and(|time| time.contains(column));
        let found = find_long(sample, &profiles, time.as_ref());
        let mut likely_keys = found.clone().unwrap_or_default();
        let mut roles: Vec<Role> = profiles.iter().map(role).collect();
        let mut long = None;
        match &spec.layout {
            Layout::Wide { columns } if columns.is_empty() => {
                let covariates = spec.past_covariates.len() + spec.future_covariates.len();
                if let Some(keys) = found.filter(|_| covariates == 0) {
                    long = long_columns(sample, &profiles, &keys, time.as_ref(), findings);
                    likely_keys.clear();
                }
            }
            Layout::Wide { columns } => {
                roles.fill(Role::NotSeries);
                for column in find_all(columns)? {
                    roles[column] = Role::Series;
                }
            }
            Layout::Long { value, .. } => {
                let free = |column: &usize| !keys.contains(column) && !is_time(*column);
                let last = (0..names.len()).rev().find(free);
                let nothing = || location.file_error("it has no column of values", "columns of key, time and value");
                let value = value.as_deref().map(find).transpose()?.or(last).ok_or_else(nothing)?;
                long = Some(LongColumns { keys, value });
                likely_keys.clear();
            }
        }
        if long.is_some() {
            roles.fill(Role::NotSeries);
        }
        if matches!(&spec.layout, Layout::Wide { columns } if columns.is_empty()) && long.is_none() {
            pass_over_indexes(sample, &profiles, time.as_ref(), &mut roles, findings);
        }
        for column in (0..names.len()).filter(|column| is_time(*column)) {
            roles[column] = Role::NotSeries;
        }
        let (past_covariates, future_covariates) =
            (find_all(&spec.past_covariates)?, find_all(&spec.future_covariates)?);
        for (kind, columns) in [("past covariate", &past_covariates), ("future covariate", &future_covariates)] {
            for &column in columns {
                let uses = past_covariates.iter().chain(&future_covariates).filter(|other| **other == column).count();
                let named = matches!(&spec.layout, Layout::Wide { columns } if !columns.is_empty());
                if named && roles[column] == Role::Series || is_time(column) || uses > 1 {
                    let found = format!("the {kind} \"{}\" has more than one use", names[column]);
                    let expected = format!("{kind}s that are neither time nor series, each once");
                    return Err(location.file_error(&found, &expected));
                }
            }
        }
        past_covariates.iter().chain(&future_covariates).for_each(|column| roles[*column] = Role::NotSeries);
        for (column, name) in names.iter().enumerate() {
            if roles[column] != Role::NotSeries && names[..column].contains(name) && !name.is_empty() {
                return Err(location.file_error(&format!("two columns have the name \"{name}\""), "unique names"));
            }
        }
        Ok(Self { names, roles, time, past_covariates, future_covariates, long, likely_keys })
    }

    /// The names of columns without numbers.
    pub(super) fn ignored(&self) -> Vec<String> {
        let ignored = self.roles.iter().zip(&self.names);
        let is_ignored = |role: &Role, name: &str| match role {
            Role::Ignored => true,
            Role::Undecided => !name.is_empty(),
            _ => false,
        };
        ignored.filter(|(role, name)| is_ignored(role, name)).map(|(_, name)| name.clone()).collect()
    }
}

fn role(profile: &Profile) -> Role {
    match profile.kind {
        Kind::Empty => Role::Undecided,
        Kind::Numbers => Role::Series,
        Kind::Stamps | Kind::TimesOfDay | Kind::Words => Role::Ignored,
    }
}

/// The columns of a file that is recognised as a long one; `None` where none holds values.
fn long_columns(
    sample: &Sample<'_>,
    profiles: &[Profile],
    keys: &[usize],
    time: Option<&TimeParts>,
    findings: &mut Findings,
) -> Option<LongColumns> {
    let name = |column: usize| sample.names[column].as_str();
    let has_role = |column: usize| {
        let is_time = time.is_some_and(|time| time.contains(column));
        keys.contains(&column) || is_time || is_index(name(column)) && sample.counts_rows(column)
    };
    let is_value = |column: &usize| profiles[*column].kind == Kind::Numbers && !has_role(*column);
    let values: Vec<usize> = (0..profiles.len()).filter(is_value).collect();
    let by_name = values.iter().copied().find(|column| super::names::is_value(name(*column)));
    let value = by_name.or(values.last().copied())?;
    let key: Vec<&str> = keys.iter().map(|column| name(*column)).collect();
    let (key, times) = (key.join(","), time.map_or(String::new(), |time| time.name(sample.names)));
    let passed: Vec<&str> = values.iter().filter(|column| **column != value).map(|column| name(*column)).collect();
    let passed = match &passed[..] {
        [] => String::new(),
        passed => format!("; other values, which --value COLUMN names: {}", passed.join(", ")),
    };
    findings.say(
        format!("a long file, read as with --long --key {key} --time {times} --value {}{passed}", name(value)),
        format!("times repeat, but not with the same {key}"),
    );
    Some(LongColumns { keys: keys.to_vec(), value })
}

/// Columns that number the rows are no series.
fn pass_over_indexes(
    sample: &Sample<'_>,
    profiles: &[Profile],
    time: Option<&TimeParts>,
    roles: &mut [Role],
    findings: &mut Findings,
) {
    let Some(time) = time else { return };
    let first_time = time.0.iter().map(|part| part.column).min().unwrap_or(0);
    let begins_low =
        |column: usize| sample.numbers(column).flatten().next().is_some_and(|first| (0.0..=1.0).contains(&first));
    for column in 0..profiles.len() {
        let name = &sample.names[column];
        let likely = is_index(name) || column < first_time && begins_low(column) && !is_time(name);
        if profiles[column].kind == Kind::Numbers && !time.contains(column) && likely && sample.counts_rows(column) {
            roles[column] = Role::NotSeries;
            findings.say(
                format!("index column \"{name}\" passed over"),
                "it counts the rows; --columns names it if it is a series".into(),
            );
        }
    }
}
