//! The rooms and their walls: which crate may use which, and which names must not occur in whose code.
//!
//! `docs/ARCHITECTURE.md` has the same rules as prose. Names are looked for in code alone: comments and literals may
//! say what they like.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each crate may use of the others, by folder.
const ARROWS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("io", &[]),
    ("logic", &["proto"]),
    ("storage", &["io", "proto"]),
    ("client", &["proto"]),
    ("broker", &["storage", "logic", "io", "proto"]),
    ("cli", &["broker", "client", "storage", "logic", "io", "proto"]),
    ("sim", &["broker", "storage", "logic", "io", "proto"]),
    ("bench", &["client", "proto"]),
    ("micro", &["storage", "logic", "io", "proto"]),
];

/// Names that code in some places must not use.
struct Wall {
    /// Paths that begin like this are looked at.
    within: &'static [&'static str],
    /// Except these.
    except: &'static [&'static str],
    words: &'static [&'static str],
    why: &'static str,
}

const WALLS: &[Wall] = &[
    Wall {
        within: &[""],
        except: &["io/src/uring/"],
        words: &["unsafe"],
        why: "only io/src/uring may have unsafe code",
    },
    Wall {
        within: &[""],
        except: &["io/src/uring/", "io/tests/"],
        words: &["glommio", "io_uring", "libc"],
        why: "only io/src/uring knows the real machine",
    },
    Wall {
        within: &[""],
        except: &["io/src/uring/", "io/tests/", "bench/src/os/"],
        words: &["nix"],
        why: "system calls belong to io/src/uring, and those of the harness to bench/src/os",
    },
    Wall {
        within: &["proto/src/", "logic/src/"],
        except: &[],
        words: &["fs", "thread", "Instant", "SystemTime", "async", "await", "tokio"],
        why: "proto and logic have no files, no threads, no clock and never wait",
    },
    Wall {
        within: &["logic/src/"],
        except: &[],
        words: &["HashMap", "HashSet", "RandomState"],
        why: "logic decides the same every time: std's hash tables iterate in random order",
    },
    Wall {
        within: &["broker/src/"],
        except: &[],
        words: &["fs", "thread", "Instant", "SystemTime"],
        why: "the broker reaches the machine through io alone",
    },
    Wall {
        within: &["proto/src/", "logic/src/", "storage/src/", "broker/src/"],
        except: &[],
        words: &["TcpListener", "TcpStream", "UdpSocket", "UnixListener", "UnixStream", "UnixDatagram"],
        why: "sockets belong to io",
    },
];

/// The one part of tokio that the broker may name: the traits that `h2` speaks. No runtime.
const TOKIO_IN_BROKER: &str = "::io::";
const TOKIO_FEATURES_IN_BROKER: &[&str] = &["io-util"];

#[test]
fn arrows_go_down() {
    let metadata = metadata();
    assert!(crates(&metadata).count() >= ARROWS.len(), "the workspace has its crates");
    let wrong: Vec<_> = wrong_arrows(&metadata).into_iter().chain(tokio_features(&metadata)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn walls_hold() {
    let sources = sources(&metadata());
    assert!(sources.len() > 100, "the sources were found");
    let wrong: Vec<_> = sources.iter().flat_map(|(path, source)| breaches(path, source)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above this crate")
}

fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

/// The workspace's crates: folder and what cargo knows.
fn crates(metadata: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let packages = metadata["packages"].as_array().expect("a list of packages").iter();
    packages.map(|package| (folder(home(package)), package))
}

fn home(package: &Value) -> &Path {
    let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
    manifest.parent().expect("a manifest lies in a folder")
}

fn folder(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a folder with a name")
}

fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    package["dependencies"].as_array().expect("a list of dependencies").iter()
}

fn wrong_arrows(metadata: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, package) in crates(metadata) {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == from) else {
            wrong.push(format!("{from} is a new room: give it a row in ARROWS and in docs/ARCHITECTURE.md"));
            continue;
        };
        let ours = dependencies(package).filter_map(|dependency| dependency["path"].as_str());
        let ours = ours.map(|path| folder(Path::new(path))).filter(|to| *to != from && !allowed.contains(to));
        wrong.extend(
            ours.map(|to| format!("{from} must not depend on {to}: arrows between rooms go down only")),
        );
    }
    wrong
}

fn tokio_features(metadata: &Value) -> Vec<String> {
    let broker = crates(metadata).filter(|(name, _)| *name == "broker");
    let tokio =
        broker.flat_map(|(_, package)| dependencies(package)).filter(|found| found["name"] == "tokio");
    let features = tokio.flat_map(|found| found["features"].as_array().expect("a list of features"));
    let wrong = features.filter(|f| !f.as_str().is_some_and(|name| TOKIO_FEATURES_IN_BROKER.contains(&name)));
    wrong
        .map(|feature| format!("the broker must not use tokio's feature {feature}: it has no runtime"))
        .collect()
}

/// Every Rust file of every crate: path below the root, and content.
fn sources(metadata: &Value) -> Vec<(String, String)> {
    let mut folders: Vec<PathBuf> = crates(metadata).map(|(_, package)| home(package).to_owned()).collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).expect("readable source");
                let below = path.strip_prefix(root()).expect("a path below the root");
                sources.push((below.to_str().expect("a plain path").to_owned(), source));
            }
        }
    }
    // A crate may lie below another, which has its sources, too.
    sources.sort();
    sources.dedup();
    sources
}

fn breaches(path: &str, source: &str) -> Vec<String> {
    let code = code_of(source);
    let begins = |with: &&str| path.starts_with(*with);
    let walls = WALLS.iter().filter(|wall| wall.within.iter().any(begins) && !wall.except.iter().any(begins));
    let mut found: Vec<_> = walls
        .flat_map(|wall| wall.words.iter().map(move |word| (*word, wall.why)))
        .flat_map(|(word, why)| {
            places(&code, word).map(move |(line, _)| format!("{path}:{line}: {word}: {why}"))
        })
        .collect();
    if path.starts_with("broker/") {
        let tokio = places(&code, "tokio").filter(|(_, behind)| !behind.starts_with(TOKIO_IN_BROKER));
        let why = "the broker may name tokio::io alone: it has no runtime";
        found.extend(tokio.map(|(line, _)| format!("{path}:{line}: tokio: {why}")));
    }
    found
}

/// Where `word` stands as a whole word: the line, and the code behind it.
fn places<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = (usize, &'c str)> {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).filter_map(move |(at, _)| {
        let (before, behind) = (&code[..at], &code[at + word.len()..]);
        let whole = !before.ends_with(in_name) && !behind.starts_with(in_name);
        whole.then(|| (before.matches('\n').count() + 1, behind))
    })
}

/// The source with every comment and literal blanked, line for line.
fn code_of(source: &str) -> String {
    let (mut code, mut rest) = (String::with_capacity(source.len()), source);
    while let Some(next) = rest.chars().next() {
        let skipped = comment_or_literal(rest);
        if skipped == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            code.push(' ');
            code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
            rest = &rest[skipped..];
        }
    }
    code
}

/// Bytes of the comment or literal that `text` begins with; 0 if it begins with code.
fn comment_or_literal(text: &str) -> usize {
    let up_to =
        |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if let Some(raw) = text.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return up_to(&format!("\"{}", "#".repeat(hashes)), hashes + 2);
        }
    }
    let mut chars = text.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('/'), Some('/'), _) => text.find('\n').unwrap_or(text.len()),
        (Some('/'), Some('*'), _) => up_to("*/", 2),
        (Some('"'), ..) => quoted(text, '"'),
        // Anything else behind an apostrophe is a lifetime.
        (Some('\''), Some('\\'), _) | (Some('\''), Some(_), Some('\'')) => quoted(text, '\''),
        _ => 0,
    }
}

/// Bytes of the literal that `text` begins with, both quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|&(_, c)| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

#[test]
fn an_arrow_that_points_up_is_found() {
    let package = |name: &str, uses: &[&str]| {
        let uses = uses.iter().map(|to| json!({ "name": to, "path": format!("/w/{to}"), "features": [] }));
        json!({ "manifest_path": format!("/w/{name}/Cargo.toml"), "dependencies": uses.collect::<Vec<_>>() })
    };
    let with = |name, uses: &[&str]| wrong_arrows(&json!({ "packages": [package(name, uses)] }));
    assert_eq!(with("broker", &["storage", "logic"]), Vec::<String>::new());
    assert_eq!(with("proto", &["proto"]), Vec::<String>::new(), "a crate's tests may use the crate");
    assert!(with("logic", &["proto", "storage"])[0].starts_with("logic must not depend on storage"));
    assert!(with("storage", &["logic"])[0].contains("logic"));
    assert!(with("client", &["broker"])[0].contains("broker"));
    assert!(with("attic", &[])[0].contains("attic is a new room"));
    for (name, allowed) in ARROWS {
        for (other, _) in ARROWS.iter().filter(|(other, _)| other != name && !allowed.contains(other)) {
            assert_eq!(with(name, &[other]).len(), 1, "{name} -> {other}");
        }
    }
}

#[test]
fn a_runtime_in_the_broker_is_found() {
    let with = |features: &[&str]| {
        let tokio = json!({ "name": "tokio", "features": features });
        let broker = json!({ "manifest_path": "/w/broker/Cargo.toml", "dependencies": [tokio] });
        tokio_features(&json!({ "packages": [broker] }))
    };
    assert_eq!(with(&["io-util"]), Vec::<String>::new());
    assert_eq!(with(&["io-util", "rt"]).len(), 1);
    assert_eq!(breaches("broker/src/a.rs", "use tokio::io::{AsyncRead, AsyncWrite};"), Vec::<String>::new());
    for runtime in ["use tokio::{io, spawn};", "tokio::spawn(task)", "use tokio as t;", "#[tokio::test]"] {
        assert_eq!(breaches("broker/src/a.rs", runtime).len(), 1, "{runtime}");
    }
}

#[test]
fn every_wall_finds_its_words_and_nothing_else() {
    for wall in WALLS {
        for word in wall.words {
            let path = format!("{}x.rs", if wall.within == [""] { "storage/src/" } else { wall.within[0] });
            let found = breaches(&path, &format!("fn a() {{}}\n{word}::b();"));
            assert!(found[0].starts_with(&format!("{path}:2: {word}: ")), "{word}: {found:?}");
            let spoken = format!(
                "// {word}\n/* {word} */ const A: &str = \"{word} \\\" {word}\"; fn {word}_like() {{}}"
            );
            assert_eq!(breaches(&path, &spoken), Vec::<String>::new(), "{word}");
            for exempt in wall.except {
                assert_eq!(breaches(&format!("{exempt}x.rs"), &format!("use {word};")), Vec::<String>::new());
            }
        }
    }
}

#[test]
fn code_is_told_from_comments_and_literals() {
    let code = |source| code_of(source).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(code("a // b\nc"), "a c");
    assert_eq!(code("a /* b\n b */ c"), "a c");
    assert_eq!(code(r##"a(r#"b " b"#) + "c\\" + 'd' + '\'' + 'e'"##), "a( ) + + + +");
    assert_eq!(code("fn a<'b>(c: &'b str) {}"), "fn a<'b>(c: &'b str) {}");
    assert_eq!(code("r#type \"x"), "r#type");
    assert_eq!(code_of("\"\n\n\" a").lines().count(), 3, "lines keep their numbers");
}
