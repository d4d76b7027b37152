//! Stories of groups, told as text: requests in; records, answers and what time brings out.
//!
//! Each file in `tests/scenarios/groups` is a list of events (see `group_story`); the lines that begin with "> " are what came of them (see
//! `story`).

#[allow(dead_code, reason = "other tests use the rest")]
mod consumer_support;
mod group_story;
#[allow(dead_code, reason = "other stories use the rest")]
mod story;

use group_story::World;

const FOLDER: &str = "scenarios/groups";

fn check(name: &str) {
    let mut world = World::new();
    story::check(FOLDER, name, |event| world.run(event));
}

#[test]
fn no_story_is_forgotten() {
    story::none_is_forgotten(FOLDER, include_str!("group_scenarios.rs"));
}

/// A group begins, works and ends.
#[test]
fn classic_life() {
    check("classic_life.txt");
}

/// Ids come first (KIP-394), and hold a rebalance up.
#[test]
fn member_ids() {
    check("member_ids.txt");
}

/// Which protocol members are assigned by, and who does not fit.
#[test]
fn protocols() {
    check("protocols.txt");
}

/// Members that go by a name (KIP-345).
#[test]
fn static_members() {
    check("static_members.txt");
}

/// What each state answers.
#[test]
fn states() {
    check("states.txt");
}

/// Who is silent, or late, is out.
#[test]
fn classic_timeouts() {
    check("classic_timeouts.txt");
}

/// Who may commit, and what is found.
#[test]
fn commits() {
    check("commits.txt");
}

/// What nobody uses goes after its time (KIP-211).
#[test]
fn expiry() {
    check("expiry.txt");
}

/// What a restart brings back.
#[test]
fn restarts() {
    check("restarts.txt");
}

/// The new protocol (KIP-848): members come, give up, get, and leave.
#[test]
fn consumer_reconciliation() {
    check("consumer_reconciliation.txt");
}

/// Who is out, and how it hears of that.
#[test]
fn consumer_fencing() {
    check("consumer_fencing.txt");
}

/// Members of the new protocol that go by a name.
#[test]
fn consumer_static() {
    check("consumer_static.txt");
}

/// Members that subscribe by a regular expression.
#[test]
fn expressions() {
    check("expressions.txt");
}

/// A group without members changes its protocol.
#[test]
fn changes_of_protocol() {
    check("changes_of_protocol.txt");
}
