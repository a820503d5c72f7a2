//! `foretide train` as it is run: the built binary, its output, its exit codes.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// A small network, so that a test is quick.
const SMALL: [&str; 10] = ["--horizon", "4", "--hidden", "8", "--batch-size", "8", "--k1", "32", "--k2", "32"];

fn foretide(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foretide")).arg("train").args(arguments).output().unwrap()
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// Four series, hourly, with a rhythm of twelve steps.
fn file(folder: &Path, rows: usize) -> String {
    let mut text = String::from("time,a,b,c,d\n");
    for row in 0..rows {
        text += &(1_700_000_000 + 3600 * row).to_string();
        for series in 0..4 {
            let wave = ((row + 3 * series) as f64 * std::f64::consts::TAU / 12.0).sin();
            let noise = ((row * 7919 + 13 * series) % 101) as f64 / 101.0;
            text += &format!(",{}", 50.0 + 10.0 * wave + noise);
        }
        text += "\n";
    }
    let file = path(folder, "four.csv");
    fs::write(&file, text).unwrap();
    file
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_file_is_learnt_and_the_weights_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (file(folder.path(), 900), path(folder.path(), "weights.safetensors"));
    let asked = [&[file.as_str(), "--json", "--updates", "60", "--learning-rate", "0.01", "--out", &out], &SMALL[..]];
    let output = foretide(&asked.concat());
    let report = json(&output);
    let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key}: {report}"));
    assert_eq!(
        (&report["verdict"], &report["reason"], &report["refused"]),
        (&"promote".into(), &Value::Null, &Value::Null)
    );
    assert!(number("challenger_loss") < 0.9 * number("champion_loss"), "{report}");
    assert!(report["fit"]["challenger"].as_f64() < report["fit"]["champion"].as_f64(), "{report}");
    assert_eq!((number("updates"), number("skipped_non_finite")), (60.0, 0.0));
    assert!(number("clipped_gradient_norm") <= number("gradient_norm") && number("series_steps") > 1000.0);
    assert!(number("seconds") > 0.0 && number("judged") >= 1000.0 && report["out"] == out.as_str());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("4 series, 900 rows, step 1h") && said.contains("update 1 of 60: loss "), "{said}");
    assert!(fs::read(&out).unwrap().len() > 1000);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside");

    // What won is a champion that leaves nothing to win for a training that does not move.
    let again = [&[file.as_str(), "--json", "--updates", "2", "--learning-rate", "1e-9", "--from", &out], &SMALL[..]];
    let report = json(&foretide(&[&again.concat()[..], &["--out", &path(folder.path(), "again")]].concat()));
    assert_eq!(report["verdict"], "refuse", "{report}");
    assert!(["underfitting", "no_clear_win"].contains(&report["reason"].as_str().unwrap()), "{report}");
}

#[test]
fn a_checkpoint_goes_on_to_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path(), 600);
    let train = |out: &str, more: &[&str]| {
        let out = path(folder.path(), out);
        let asked = [&[file.as_str(), "--device", "cpu", "--out", &out], &SMALL[..], more].concat();
        let output = foretide(&asked);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (fs::read(&out).unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let checkpoint = path(folder.path(), "checkpoint");
    let whole = train("whole", &["--updates", "60", "--checkpoint", &checkpoint]);
    assert!(whole.1.contains("60 updates") && whole.1.contains("weights in "), "{}", whole.1);
    // The last checkpoint is that of the end: with the same number of updates nothing is left to do.
    assert_eq!(train("done", &["--updates", "60", "--resume", &checkpoint]).0, whole.0);
    let other = [file.as_str(), "--resume", &checkpoint, "--seed", "2", "--out", &path(folder.path(), "x")];
    let output = foretide(&[&other[..], &SMALL[..]].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{error}");
    assert!(error.contains("the checkpoint was made with other data, or another seed"), "{error}");
}

#[test]
fn an_interrupt_keeps_the_best_and_training_goes_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (file(folder.path(), 600), path(folder.path(), "weights"));
    let checkpoint = path(folder.path(), "checkpoint");
    let asked = [file.as_str(), "--out", &out, "--json", "--device", "cpu", "--updates", "600"];
    let begun = [&asked[..], &["--checkpoint", &checkpoint], &SMALL[..]].concat();
    let mut child = Command::new(env!("CARGO_BIN_EXE_foretide"))
        .arg("train")
        .args(&begun)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("update ")), "training begins");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let rest: Vec<String> = said.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    let report = json(&output);
    assert_eq!(report["interrupted"], true, "{report} {rest:?}");
    let updates = report["updates"].as_u64().unwrap();
    assert!((1..600).contains(&updates), "{report}");
    assert!(rest.iter().any(|line| line.contains("the best weights so far were evaluated and written")), "{rest:?}");
    assert!(fs::read(&out).unwrap().len() > 1000);

    let resumed = json(&foretide(&[&asked[..], &["--resume", &checkpoint], &SMALL[..]].concat()));
    assert_eq!((&resumed["updates"], &resumed["interrupted"]), (&600.into(), &false.into()));
    let resumed = fs::read(&out).unwrap();
    json(&foretide(&[&asked[..], &SMALL[..]].concat()));
    assert!(fs::read(&out).unwrap() == resumed, "the pause is not to be seen in the weights");
}

#[test]
fn gradients_are_followed_back_on_the_built_in_task() {
    let folder = tempfile::tempdir().unwrap();
    let plot = path(folder.path(), "flow.svg");
    let asked = ["--diagnose", "--json", "--steps", "24", "--hidden", "8", "--updates", "3", "--plot", &plot];
    let report = json(&foretide(&asked));
    assert_eq!((&report["steps"], &report["updates"], &report["plot"]), (&24.into(), &3.into(), &plot.as_str().into()));
    let cells = report["cells"].as_array().unwrap();
    assert!(cells.iter().any(|cell| cell["cell"] == "gru") && cells.iter().any(|cell| cell["cell"] == "lstm"));
    for cell in cells {
        for when in ["initial", "trained"] {
            let norms = cell[when]["norms"].as_array().unwrap();
            assert!(norms.len() == 24 && norms[0].as_f64().unwrap() > 0.0, "{cell}");
            assert!(["vanishes", "survives", "explodes"].contains(&cell[when]["verdict"].as_str().unwrap()), "{cell}");
        }
        assert_ne!(cell["initial"]["norms"], cell["trained"]["norms"]);
    }
    assert!(fs::read_to_string(&plot).unwrap().starts_with("<svg"));
}

#[test]
fn gradients_are_followed_back_on_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (file, plot) = (file(folder.path(), 300), path(folder.path(), "flow.png"));
    let asked = [&file, "--diagnose", "--steps", "16", "--updates", "2", "--plot", &plot];
    let output = foretide(&[&asked[..], &SMALL[..]].concat());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        said.contains("gru_reset_before initial") && said.contains("2 updates") && said.contains("reach"),
        "{said}"
    );
    assert!(fs::read(&plot).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn failures_say_what_was_expected_and_have_their_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (file(folder.path(), 200), path(folder.path(), "bad.csv"));
    fs::write(&bad, "time,x\n2020-01-01 00:00:00,1\n2020-01-01 01:00:00,one\n").unwrap();
    let short = path(folder.path(), "short.csv");
    fs::write(&short, "time,x\n0,1\n3600,2\n").unwrap();
    let out = path(folder.path(), "weights");
    let cases: [(&[&str], i32, &str); 16] = [
        (&["no/such.csv"], 66, "no/such.csv: "),
        (&[&bad], 65, "line 3, column \"x\": \"one\"; expected a number"),
        (&[&short], 65, "nothing to train on"),
        (&[&good, "--from", "no/such"], 66, "no/such: "),
        (&[&good, "--from", &good], 65, "not a safetensors file"),
        (&[&good, "--resume", &bad], 65, "not a safetensors file"),
        (&[&good, "--k1", "9", "--k2", "3"], 64, "expected 1 <= k1 <= k2"),
        (&[&good, "--out", "no/such/folder"], 74, "cannot write no/such/folder"),
        (&[&good, "--checkpoint", "no/such/folder"], 74, "cannot write no/such/folder"),
        (&[&good, "--config", "x.toml"], 2, "cannot be used with"),
        (&["--config", "x.toml", "--horizon", "3"], 2, "cannot be used with"),
        (&["--config", "x.toml", "--hidden", "3"], 2, "cannot be used with"),
        (&["--diagnose", "--steps", "1"], 64, "1 steps to follow gradients through, expected 2 to 4096"),
        (&["--config", "no/such.toml"], 78, "no/such.toml"),
        (&[&good, "--resume", "a", "--from", "b"], 2, "cannot be used with"),
        (&["--diagnose", "--plot", "x.jpg"], 2, "expected a file name that ends in .svg or .png"),
    ];
    for (arguments, code, said) in cases {
        let output = if arguments.contains(&"--out") || arguments.contains(&"--diagnose") {
            foretide(arguments)
        } else {
            foretide(&[arguments, &["--out", &out]].concat())
        };
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty() && !Path::new(&out).exists());
    }
    let nothing = foretide(&[]);
    assert_eq!(nothing.status.code(), Some(2), "{}", String::from_utf8_lossy(&nothing.stderr));
}
