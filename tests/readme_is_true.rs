//! What the README tells a newcomer to do can be done.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn foretide(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foretide")).args(arguments).output().expect("the binary runs")
}

#[test]
fn the_two_commands_exist() {
    for command in ["cargo run --release -- demo", "scripts/test"] {
        assert!(read("README.md").contains(&format!("\n    {command}\n")), "README.md does not name `{command}`");
    }
    for script in ["scripts/test", ".ci/run"] {
        let mode = fs::metadata(root().join(script)).expect("the script").permissions().mode();
        assert!(mode & 0o111 != 0, "{script} is not executable");
    }
    let help = foretide(&["demo", "--help"]);
    let says = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.status.success(), "`foretide demo --help`: {says}{}", String::from_utf8_lossy(&help.stderr));
    for option in ["--listen", "--brokers", "--seconds"] {
        assert!(says.contains(option), "`foretide demo --help` does not name {option}:\n{says}");
    }
}

#[test]
fn every_verb_of_its_table_exists() {
    let readme = read("README.md");
    let verbs: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("| `foretide ")).collect();
    assert!(verbs.len() >= 4, "{verbs:?}");
    for row in verbs {
        let verb = row.split([' ', '`']).next().unwrap_or_default();
        let output = foretide(&[verb, "--help"]);
        assert!(output.status.success() && !output.stdout.is_empty(), "`foretide {verb} --help` does not help");
    }
    assert!(!foretide(&["no-such-verb", "--help"]).status.success(), "the check above could never fail");
}

#[test]
fn its_configuration_passes_foretide_check() {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("```toml\n").expect("README.md shows a configuration");
    let (toml, _) = rest.split_once("```").expect("its end");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("foretide.toml");
    fs::write(&path, toml).expect("a writable folder");
    let output = foretide(&["check", "--config", &path.to_string_lossy()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn its_links_lead_somewhere() {
    for (name, folder) in [
        ("README.md", ""),
        ("ARCHITECTURE.md", ""),
        ("CONTRIBUTING.md", ""),
        ("deploy/README.md", "deploy"),
        ("docs/README.md", "docs"),
        ("docs/COMMANDS.md", "docs"),
        ("docs/OPERATIONS.md", "docs"),
        ("docs/COMPARE.md", "docs"),
    ] {
        let text = read(name);
        let targets: Vec<&str> = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        for target in targets {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = root().join(folder).join(Path::new(file));
            let there = target.contains("://") || path.exists() && has_heading(&path, heading);
            assert!(there, "{name} links to {target}, which is not there");
        }
    }
}

/// Whether a document has the heading with this anchor; an empty one stands for the whole document.
fn has_heading(path: &Path, anchor: &str) -> bool {
    let text = || fs::read_to_string(path).expect("a readable document");
    let anchor_of = |line: &str| line.strip_prefix('#').map(|line| line.trim_matches(['#', ' ']).to_lowercase());
    anchor.is_empty() || text().lines().filter_map(anchor_of).any(|heading| heading.replace(' ', "-") == anchor)
}

/// The text of every source file below `folder`.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            all += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all += &fs::read_to_string(&path).expect("a readable source");
        }
    }
    all
}

#[test]
fn the_concepts_of_architecture_md_have_their_files() {
    let architecture = read("ARCHITECTURE.md");
    let (_, table) = architecture.split_once("| concept | file below `src/` |").expect("the table of concepts");
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 30, "{} concepts", rows.len());
    for row in rows {
        let file = row.split('`').nth(1).expect("a file");
        assert!(root().join("src").join(file).is_file(), "ARCHITECTURE.md names src/{file}, which is not there");
    }
}

#[test]
fn the_tests_that_architecture_md_names_exist() {
    let code = sources(&root().join("src")) + &sources(&root().join("tests"));
    let architecture = read("ARCHITECTURE.md");
    let (_, table) = architecture.split_once("| promise | test |").expect("the table of promises");
    let mut named = 0;
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let tests = row.split('|').nth(2).expect("two columns");
        for name in tests.split('`').skip(1).step_by(2) {
            let there =
                if name.contains('/') { root().join(name).exists() } else { code.contains(&format!("fn {name}(")) };
            assert!(there, "ARCHITECTURE.md names `{name}`, which is not there");
            named += 1;
        }
    }
    assert!(named > 10, "the table was not read: {named}");
}
