//! Stories told as text: events, and the lines beginning with "> " that are what came of each.
//!
//! `UPDATE=1` rewrites those lines: read the difference before you keep it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::str::FromStr;

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(of)
}

/// Runs one file, event by event, and compares what came out with what it says.
pub fn check(of: &str, name: &str, mut run: impl FnMut(&str) -> Vec<String>) {
    let path = folder(of).join(name);
    let told = std::fs::read_to_string(&path).unwrap();
    let mut seen = String::new();
    for line in told.lines().filter(|line| !line.starts_with("> ")) {
        seen += &format!("{line}\n");
        let event = line.split('#').next().unwrap_or("").trim();
        if !event.is_empty() {
            for effect in run(event) {
                seen += &format!("> {effect}\n");
            }
        }
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, seen).unwrap();
    } else if seen != told {
        let differs = seen.lines().zip(told.lines()).position(|(a, b)| a != b);
        let at = differs.unwrap_or_else(|| seen.lines().count().min(told.lines().count()));
        let line = |text: &str| text.lines().nth(at).unwrap_or("(nothing)").to_owned();
        panic!("{name}:{}: told {:?}, but came {:?}", at + 1, line(&told), line(&seen));
    }
}

/// Every story is run by a test of this source: a file that nobody runs would prove nothing.
pub fn none_is_forgotten(of: &str, source: &str) {
    for file in std::fs::read_dir(folder(of)).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let is_story = file.file_type().unwrap().is_file();
        assert!(!is_story || source.contains(&format!("check(\"{name}\")")), "no test runs {name}");
    }
}

/// The words of an event: a verb, plain words, and `key=value`.
pub struct Words<'a> {
    pub plain: Vec<&'a str>,
    pub keyed: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    pub fn of(event: &'a str) -> Self {
        let (keyed, plain): (Vec<_>, Vec<_>) = event.split_whitespace().partition(|word| word.contains('='));
        Self { plain, keyed: keyed.into_iter().filter_map(|word| word.split_once('=')).collect() }
    }

    pub fn get<T: FromStr<Err: Debug>>(&self, key: &str, default: T) -> T {
        self.keyed.get(key).map_or(default, |value| value.parse().unwrap())
    }

    pub fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }

    pub fn nth<T: FromStr<Err: Debug>>(&self, index: usize) -> T {
        self.plain[index].parse().unwrap()
    }
}
