//! The harness against a running broker, from the command line to the report. Skipped where `MILLRACE_BIN` names no broker to measure.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

fn broker() -> Option<PathBuf> {
    let named = env::var_os("MILLRACE_BIN").map(PathBuf::from);
    if named.is_none() {
        eprintln!("skipped: MILLRACE_BIN names no broker");
    }
    named
}

fn bench(broker: &Path, folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-bench"));
    command.args(arguments).env("MILLRACE_BIN", broker).current_dir(folder);
    command.output().expect("the harness starts")
}

/// Short, with everything read back, below a folder that is looked at afterwards.
fn quickly(workload: &str) -> Vec<&str> {
    vec![
        "run",
        workload,
        "--seconds",
        "2",
        "--warmup",
        "0.2",
        "--first-warmup",
        "0",
        "--data",
        "data",
        "--out",
        "out",
        "--json",
        "--no-limits",
        "--cushion",
        "0",
        "--quiet",
        "--read-back",
    ]
}

fn run(workload: &str, more: &[&str]) -> Option<Value> {
    let broker = broker()?;
    let folder = tempfile::tempdir().unwrap();
    let output = bench(&broker, folder.path(), &[&quickly(workload)[..], more].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let left: Vec<_> = fs::read_dir(folder.path().join("data")).unwrap().collect();
    assert!(left.is_empty(), "data left behind: {left:?}");
    for report in ["report.txt", "report.html"] {
        let text = fs::read_to_string(folder.path().join("out").join(report)).unwrap();
        assert!(text.contains(workload), "{report}");
    }
    let runs: Value = serde_json::from_slice(&output.stdout).unwrap();
    Some(runs[0].clone())
}

#[test]
fn produced_records_are_counted_timed_and_all_there() {
    let Some(run) = run("produce-16x1k", &[]) else { return };
    let number =
        |path: &str| run.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {run}"));
    assert!((2.0..3.0).contains(&number("/wall_s")));
    let records = number("/through/records");
    assert!(records > 16.0 && records == 16.0 * number("/through/requests"));
    assert_eq!(number("/through/payload"), 1024.0 * records);
    assert!(number("/checked_records") >= records, "what came before and after the window is checked, too");
    assert!(number("/broker_cpu/total_s") > 0.0 && number("/driver_cpu_s") > 0.0);
    assert!(number("/memory/most") > 1e6);
    assert!((1.0..=number("/through/requests") * 1.01).contains(&number("/latency/count")));
}

#[test]
fn requests_stay_on_their_core_or_all_leave_it() {
    for (workload, least, most) in [("own-core", 0.0, 0.1), ("other-core", 0.9, 1.5)] {
        let Some(run) = run(workload, &["--shards", "2"]) else { return };
        let hops = run["figures"]["hops_per_request"].as_f64().unwrap();
        assert!((least..=most).contains(&hops), "{workload}: {hops} hops a request");
        assert!(run["checked_records"].as_u64() >= run["through"]["records"].as_u64(), "{run}");
    }
}

#[test]
fn a_rate_is_kept_and_latency_counts_from_the_intended_time() {
    let Some(run) = run("rate-5mb", &["--rate", "2", "--record-size", "500-1500", "--keyed"]) else { return };
    let sent = run["through"]["payload"].as_f64().unwrap() / run["wall_s"].as_f64().unwrap();
    assert!((1.8e6..2.2e6).contains(&sent), "{sent} bytes a second");
    assert_eq!(run["latency"]["since"], "intended");
    assert_eq!(run["workload"], "rate-5mb-changed");
    assert_eq!(run["load"]["record_size"], "500-1500");
}

#[test]
fn what_is_read_is_what_is_there() {
    let Some(run) = run("consume-128k", &["--megabytes", "20"]) else { return };
    let read = run["through"]["records"].as_f64().unwrap();
    let there = run["checked_records"].as_f64().unwrap();
    assert!(there >= 20e6 / 1024.0, "{there}");
    assert!(read > there, "it is read over and over");
}

#[test]
fn a_client_sends_and_reads_every_record() {
    let Some(run) = run("end-to-end", &["--target", "grpc"]) else { return };
    assert_eq!((&run["driver"], &run["latency"]["since"]), (&"gRPC client".into(), &"produced".into()));
    assert!(run["checked_records"].as_u64() > run["through"]["records"].as_u64(), "{run}");
}

#[test]
fn groups_at_work_beat_and_commit_as_often_as_they_should() {
    let small = ["--groups", "4", "--members", "3", "--partitions", "5", "--millrace-property", AT_ONCE];
    let Some(run) = run("groups-1000x3", &small) else { return };
    // 12 members, a heartbeat and a commit of each every second.
    let sent = run["through"]["requests"].as_f64().unwrap() / run["wall_s"].as_f64().unwrap();
    assert!((22.0..26.0).contains(&sent), "{sent} requests a second");
    for name in ["heartbeat", "commit"] {
        let latency = &run["latencies"][name];
        assert!((20..=26).contains(&latency["count"].as_u64().unwrap()), "{name}: {latency}");
        assert_eq!(latency["since"], "intended");
    }
    let percent = run["figures"]["broker_cpu_percent_of_a_core"].as_f64().unwrap();
    assert!(percent > 0.0 && percent < 200.0, "{percent}");
    assert_eq!(run["groups"]["members"], 3);
}

#[test]
fn members_that_join_all_at_once_hold_one_generation() {
    let small = ["--members", "20", "--partitions", "30", "--millrace-property", AT_ONCE];
    let Some(run) = run("group-500", &small) else { return };
    let figure = |name: &str| run["figures"][name].as_f64().unwrap_or_else(|| panic!("{name}: {run}"));
    assert!(figure("seconds_to_join") > 0.0 && figure("seconds_to_join") < 60.0);
    assert!(figure("generations") >= 1.0);
    assert_eq!(run["workload"], "group-500-changed");
}

/// Groups do not wait for more members, so that the test does not either.
const AT_ONCE: &str = "group.initial.rebalance.delay.ms=0";

#[test]
fn a_workload_that_is_not_there_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(Path::new("/nowhere"), folder.path(), &["run", "nothing"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("produce-100x1k"), "the others are named");
}

#[test]
fn a_broker_that_does_not_start_is_told_with_what_it_said() {
    let folder = tempfile::tempdir().unwrap();
    // It answers --version, and is no broker.
    let output = bench(Path::new("/bin/echo"), folder.path(), &quickly("produce-16x1k"));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the broker ended") && said.contains("serve --config"), "{said}");
}
