//! `millrace-bench`: numbers that anyone can repeat. Brokers are compared in interleaved pairs, with what the machine can do, and only
//! when every record is where it should be.

mod args;
mod bare;
mod clients;
mod error;
mod limits;
mod measure;
mod os;
mod progress;
mod report;
mod result;
mod run;
mod stats;
mod target;
mod wire;
mod workload;

use args::{Cli, Command};
use clap::Parser;
use error::{Doing, Error, Result};
use progress::Progress;
use run::{Job, Session};
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use target::{Target, child};
use workload::{Bound, Workload};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match carry_out(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millrace-bench: {error}");
            ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn carry_out(command: Command) -> Result<()> {
    match command {
        Command::List => {
            print!("{}", report::text::workloads());
            Ok(())
        }
        Command::Bare { data, ports } => bare::serve(&data, &ports),
        Command::Report { folder } => remake(&folder),
        Command::Run(run) => one(&run),
        Command::Compare(compare) => pairs(&compare),
        Command::Limits(what) => machine(&what),
    }
}

/// What the machine can do.
fn machine(what: &args::Limits) -> Result<()> {
    child::clean_up_on_signals()?;
    let mut progress = Progress::new(what.json);
    let time = Duration::from_secs_f64(what.seconds);
    let figures = limits::all(&what.data, time, |doing| progress.begin(doing))?;
    drop(progress);
    if what.json {
        let json = serde_json::to_string_pretty(&figures).doing("writing JSON")?;
        println!("{json}");
        return Ok(());
    }
    print!("{}", report::text::limits(&figures));
    Ok(())
}

/// What every command does that starts brokers.
fn prepare(how: &args::How) -> Result<Progress> {
    child::clean_up_on_signals()?;
    os::cores::allow_many_files()?;
    if let Some(out) = &how.out {
        fs::create_dir_all(out).doing(out.display())?;
    }
    Ok(Progress::new(how.quiet))
}

fn one(run: &args::Run) -> Result<()> {
    let mut progress = prepare(&run.how)?;
    let (setup, options) = (run.how.setup(), run.how.options());
    let mut job = job(workload::find(&run.workload)?, &run.changes)?;
    measure_limit([&mut job], &run.how, &mut progress)?;
    let mut session = Session::new(run.target.to_string(), &run.target, &setup, &options);
    let mut runs = Vec::new();
    for time in 1..=run.times {
        let result = session.run(&job, time, &mut progress)?;
        keep(&result, run.how.out.as_deref())?;
        runs.push(result);
    }
    drop(session);
    drop(progress);
    match run.json {
        true => print_json(&runs)?,
        false => print!("{}", report::text::runs(&runs)),
    }
    run.how.out.as_deref().map_or(Ok(()), |out| report::write(out, &runs))
}

fn pairs(compare: &args::Compare) -> Result<()> {
    let mut progress = prepare(&compare.how)?;
    let (setup, options) = (compare.how.setup(), compare.how.options());
    let mut runs = Vec::new();
    for [mut a, mut b] in job_pairs(compare)? {
        measure_limit([&mut a, &mut b], &compare.how, &mut progress)?;
        let sides = [&compare.a, &compare.b];
        let [mut first, mut second] =
            sides.map(|side| Session::new(side.name.clone(), &side.target, &setup, &options));
        for pair in 1..=compare.pairs {
            for (session, job) in [(&mut first, &a), (&mut second, &b)] {
                let result = session.run(job, pair, &mut progress)?;
                keep(&result, compare.how.out.as_deref())?;
                progress.note(&report::text::line(&result));
                runs.push(result);
            }
            if compare.fresh {
                first.end();
                second.end();
            }
        }
    }
    drop(progress);
    print!("{}", report::text::runs(&runs));
    compare.how.out.as_deref().map_or(Ok(()), |out| report::write(out, &runs))
}

/// The workloads of a comparison, for each side.
fn job_pairs(compare: &args::Compare) -> Result<Vec<[Job; 2]>> {
    let of = |workload: &Workload| job(workload, &compare.changes);
    let (a, b) = (compare.a.workload, compare.b.workload);
    if a.is_some() || b.is_some() {
        let [a, b] = [a.or(b), b.or(a)].map(|found| found.ok_or_else(|| Error::Usage(String::new())));
        return match compare.workload.is_empty() {
            true => Ok(vec![[of(a?)?, of(b?)?]]),
            false => Err(Error::Usage("the sides name their workloads; --workload is too much".to_owned())),
        };
    }
    let named = compare.workload.iter().map(|name| workload::find(name));
    let workloads = match compare.workload.is_empty() {
        true => workload::TABLE.iter().collect(),
        false => named.collect::<Result<Vec<_>>>()?,
    };
    workloads.into_iter().map(|workload| Ok([of(workload)?, of(workload)?])).collect()
}

fn job(workload: &Workload, changes: &args::Changes) -> Result<Job> {
    let (name, plan, bound) = changes.apply(workload)?;
    Ok(Job { name, plan, bound, limit: None })
}

/// Measures what bounds these workloads, once where it is the same.
fn measure_limit<const N: usize>(
    jobs: [&mut Job; N],
    how: &args::How,
    progress: &mut Progress,
) -> Result<()> {
    let mut known: Option<(Job, result::Limit)> = None;
    for job in jobs {
        let Some(bound) = job.bound.filter(|_| !how.no_limits) else { continue };
        let same = |(other, limit): &(Job, result::Limit)| {
            limit.bound == bound && (bound == Bound::Fdatasync || other.plan == job.plan)
        };
        if let Some((_, limit)) = known.as_ref().filter(|known| same(known)) {
            job.limit = Some(*limit);
            continue;
        }
        progress.begin(format!("the machine's limit for {}", job.name));
        let value = match bound {
            Bound::Bare => bare_limit(job, how, progress)?,
            Bound::Fdatasync => limits::syncs(&how.brokers.data, LIMIT)?,
        };
        let limit = result::Limit { bound, value };
        job.limit = Some(limit);
        known = Some((job.clone(), limit));
    }
    Ok(())
}

/// For how long a limit is measured.
const LIMIT: Duration = Duration::from_secs(3);

/// What the bare server comes to with a workload, in GB for each CPU-second.
fn bare_limit(job: &Job, how: &args::How, progress: &mut Progress) -> Result<f64> {
    let options = run::Options {
        driver: run::Driver::Wire,
        warm_up: Duration::from_secs(1),
        first_warm_up: Some(Duration::ZERO),
        time: LIMIT,
        ..how.options()
    };
    let setup = how.setup();
    let run = Session::new("bare".to_owned(), &Target::Bare, &setup, &options).run(job, 0, progress)?;
    run.gb_per_cpu_s().ok_or_else(|| Error::Target("the bare server's CPU time is not known".to_owned()))
}

/// Writes a result as soon as it is there: a later failure does not take it away.
fn keep(run: &result::Run, out: Option<&Path>) -> Result<()> {
    let Some(out) = out else { return Ok(()) };
    let side: String = run.side.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    run.write(&out.join(format!("{}.{side}.{}.json", run.workload, run.pair)))
}

fn print_json(runs: &[result::Run]) -> Result<()> {
    let json = serde_json::to_string_pretty(runs).doing("writing JSON")?;
    println!("{json}");
    Ok(())
}

/// Reads the results in a folder and writes the report anew.
fn remake(folder: &Path) -> Result<()> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).doing(folder.display())? {
        let path = entry.doing(folder.display())?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut runs = paths.iter().map(|path| result::Run::read(path)).collect::<Result<Vec<_>>>()?;
    if runs.is_empty() {
        return Err(Error::Usage(format!("there are no results in {}", folder.display())));
    }
    // As they were made.
    runs.sort_by(|a, b| a.started.cmp(&b.started));
    print!("{}", report::text::runs(&runs));
    report::write(folder, &runs)
}
