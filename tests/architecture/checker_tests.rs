//! The checker is itself checked on small made-up files.

use super::{circles::circles, wrongs};

#[test]
fn a_wrong_import_is_found_however_it_is_written() {
    for (name, source) in [
        ("series/grid.rs", "//! x\nuse crate::engine::Table;"),
        ("series/grid.rs", "//! x\nuse crate::{time::Grid, nn::{self, Network}};"),
        ("series/grid.rs", "//! x\nfn f(x: &crate::forecast::Forecast) {}"),
        ("series/mod.rs", "//! x\nuse super::daemon::Event as E;"),
        ("series/grid.rs", "//! x\nuse super::super::wire;"),
        ("series/grid.rs", "//! x\nmod tests { use super::super::super::cli; }"),
        ("series/grid.rs", "//! x\nuse self::super::super::cli;"),
        ("wire/mod.rs", "//! x\nuse crate::engine;"),
        ("train/mod.rs", "//! x\nuse crate::engine;"),
        ("broker/kafka.rs", "//! x\nuse crate::time::Grid;"),
        ("backtest/mod.rs", "//! x\nuse crate::settings::Settings;"),
        ("main.rs", "//! x\nfn main() { foretide::daemon::run() }"),
        ("cellar/mod.rs", "//! x"),
        ("dashboard/mod.rs", "//! x\nuse crate::daemon::Status;"),
    ] {
        assert!(!wrongs(name, source).is_empty(), "not found in {name}: {source}");
    }
}

#[test]
fn a_crate_or_word_in_the_wrong_room_is_found() {
    for (name, source) in [
        ("engine/mod.rs", "//! x\nuse std::time::{Duration, Instant};"),
        ("engine/mod.rs", "//! x\nfn f() { let t = std::time::SystemTime::now(); }"),
        ("forecast/mod.rs", "//! x\nuse tracing::info;"),
        ("nn/mod.rs", "//! x\nfn f() { metrics::counter!(\"a\"); }"),
        ("series/mod.rs", "//! x\nuse std::{fs, fmt};"),
        ("engine/mod.rs", "//! x\nasync fn f() {}"),
        ("engine/mod.rs", "//! x\nfn f() { println!() }\n#[cfg(test)] mod tests {}"),
        ("engine/mod.rs", "//! x\nuse candle_core::Tensor;"),
        ("daemon/mod.rs", "//! x\nuse rdkafka::ClientConfig;"),
        ("nn/cell.rs", "//! x\nfn f() { unsafe { g() } }"),
        ("nn/cell.rs", "fn f() {}"),
    ] {
        assert!(!wrongs(name, source).is_empty(), "not found in {name}: {source}");
    }
}

#[test]
fn what_is_allowed_passes() {
    for (name, source) in [
        ("series/grid.rs", "//! x\nuse crate::time::{EventTime, Grid};\nuse super::scale;\nuse crate::series::Scale;"),
        ("series/grid.rs", "//! [`crate::engine`] calls this.\n/* use crate::cli; /* unsafe */ */ fn f<'a>() {}"),
        ("series/grid.rs", "//! x\nconst A: &str = \"use crate::cli;\"; const B: &str = r#\"\"crate::cli\"#;"),
        ("series/grid.rs", "//! x\nconst Q: char = '\"'; const R: char = '\\''; use crate::time; // \""),
        ("series/grid.rs", "//! x\nmod tests { use super::*; use super::super::scale; }"),
        ("nn/kernel/gru.rs", "//! x\n#[allow(unsafe_code)]\nunsafe fn f() {}"),
        ("nn/cuda/device.rs", "//! x\n#[allow(unsafe_code)]\nunsafe fn f() {}"),
        ("nn/mod.rs", "//! x\nuse candle_core::{Device, Tensor};"),
        ("nn/mod.rs", "//! x\n#[cfg(test)] mod tests { fn f() { println!() } }"),
        ("nn/kernel/tests.rs", "//! x\nfn f() { println!() }"),
        ("nn/data_tests.rs", "//! x\nfn f() { std::fs::File::open(\"a\") }"),
        ("engine/mod.rs", "//! x\nuse std::time::Duration;\nfn f(c: Counts) -> u64 { c.metrics::<u8>() }"),
        ("daemon/mod.rs", "//! x\nuse crate::{settings, telemetry, engine::Shard};"),
        ("main.rs", "//! x\nfn main() { foretide::cli::main() }"),
    ] {
        assert_eq!(wrongs(name, source), Vec::<String>::new(), "{name}: {source}");
    }
}

/// The circles among made-up files, given as name and source.
fn circles_of(files: &[(&str, &str)]) -> usize {
    circles(&files.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect::<Vec<_>>()).len()
}

#[test]
fn a_circle_is_found_however_it_closes() {
    for files in [
        &[("a/x.rs", "use super::y::Y;"), ("a/y.rs", "use crate::a::x::X;")][..],
        // A child that imports what its parent defines or re-exports.
        &[("a/mod.rs", "mod x; pub use x::X; pub struct P;"), ("a/x.rs", "use super::P;")],
        &[("a/mod.rs", "mod x; mod y; pub use x::X;"), ("a/x.rs", ""), ("a/y.rs", "use crate::a::X;")],
        &[("a.rs", "mod x;"), ("a/x.rs", "fn f() { super::g() }")],
        // Three files, by paths within expressions.
        &[
            ("a/x.rs", "fn f() { super::y::f() }"),
            ("a/y.rs", "fn f() { super::z::f() }"),
            ("a/z.rs", "fn f() { crate::a::x::f() }"),
        ],
        &[("a/mod.rs", "struct P; #[cfg(not(test))] mod t;"), ("a/t.rs", "use super::P;")],
        // What stands behind a test's declaration counts.
        &[("a/x.rs", "#[cfg(test)]\nmod t;\nuse super::y::Y;"), ("a/y.rs", "use super::x::X;"), ("a/x/t.rs", "")],
    ] {
        assert_eq!(circles_of(files), 1, "{files:?}");
    }
}

#[test]
fn a_way_down_is_no_circle() {
    for files in [
        &[("a/mod.rs", "mod x; mod y; pub use x::X;"), ("a/x.rs", "use super::y::Y;"), ("a/y.rs", "struct Y;")][..],
        &[("a/mod.rs", "mod x; pub use x::X;"), ("b/y.rs", "use crate::a::X;"), ("a/x.rs", "")],
        &[("a/mod.rs", "mod x;"), ("a/x.rs", "pub(super) struct X { pub(in crate::a) y: u8 }")],
        // Tests may look anywhere.
        &[("a/mod.rs", "mod x; struct P;"), ("a/x.rs", "#[cfg(test)]\nmod tests { use super::super::P; }")],
        &[("a/mod.rs", "struct P; #[cfg(test)] mod t;"), ("a/t.rs", "use super::P;")],
        &[("a/mod.rs", "struct P; #[cfg(all(test, feature = \"c\"))] mod t;"), ("a/t.rs", "use super::P;")],
        &[
            ("a/mod.rs", "struct P; #[cfg(test)] mod t;"),
            ("a/t/mod.rs", "mod u;"),
            ("a/t/u.rs", "use super::super::P;"),
        ],
        &[("a/x.rs", "// use super::y;\n"), ("a/y.rs", "use super::x::X; const S: &str = \"super::y\";")],
    ] {
        assert_eq!(circles_of(files), 0, "{files:?}");
    }
}
