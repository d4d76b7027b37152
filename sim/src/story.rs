//! One world from start to end: clients work while things go wrong; then everything is healed, everybody finishes, the
//! broker starts anew, and all that there is is read.

use crate::clients::admin::Admin;
use crate::clients::consumer::Consumer;
use crate::clients::member::Group;
use crate::clients::member::classic::ClassicMember;
use crate::clients::member::consumer::ConsumerMember;
use crate::clients::producer::{Kind, Producer};
use crate::clients::{Client, Closing, Target};
use crate::judge::{Fact, GroupId, Judge, Promise, Tally};
use crate::nemesis::Nemesis;
use crate::plan::{Plan, Protocol};
use crate::server::Server;
use millrace_io::Io;
use millrace_io::simulated::{Host, Rng, World};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How long clients may take to finish once everything is healed.
const FINISHES_WITHIN: Duration = Duration::from_secs(90);
/// A world that takes more turns is declared endless.
const STEP_LIMIT: u64 = 20_000_000;

/// What became of a world.
#[derive(Debug)]
pub struct Story {
    /// Its seed.
    pub seed: u64,
    /// What happened to the broker, line by line.
    pub events: Vec<String>,
    /// How often clients did what.
    pub tally: Tally,
    /// How long it took, in virtual time.
    pub lasted: Duration,
    /// The same for equal runs.
    pub trace_hash: u64,
    /// What must not happen and did.
    pub failure: Option<String>,
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        self.events.iter().try_for_each(|event| writeln!(f, "{event}"))?;
        let Tally { sent, acked, read, created, deleted, producer_ids, commits, lookups, outs } = self.tally;
        writeln!(
            f,
            "{:>9.3} s  {sent} records sent, {acked} acknowledged, {read} reads; {created} topics created, {deleted} deleted; \
             {producer_ids} producer ids; {commits} commits, {lookups} looked up, {outs} members out; trace {:016x}",
            self.lasted.as_secs_f64(),
            self.trace_hash
        )?;
        match &self.failure {
            None => write!(f, "all invariants hold"),
            Some(failure) => write!(f, "FAILED: {failure}"),
        }
    }
}

/// Lives the world of this seed.
pub fn tell(seed: u64) -> Story {
    // A panic anywhere in the world is a failure of it like any other.
    catch_unwind(AssertUnwindSafe(|| live(seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Story {
            seed,
            events: Vec::new(),
            tally: Tally::default(),
            lasted: Duration::ZERO,
            trace_hash: 0,
            failure: Some(format!("panic: {}", text.unwrap_or_default())),
        }
    })
}

/// The hosts of clients, and what all clients have.
struct Stage<'w> {
    world: &'w World,
    hosts: Vec<Host>,
    server: std::net::SocketAddr,
    judge: Judge,
    closing: Closing,
    rng: Rng,
}

impl Stage<'_> {
    /// A client on one of the hosts.
    fn client(&mut self, name: String) -> Client {
        let io = self.hosts[self.rng.index(self.hosts.len())].core(0);
        Client { io, broker: self.server, judge: self.judge.clone(), closing: self.closing.clone(), name }
    }

    fn rng(&mut self) -> Rng {
        Rng::new(self.rng.bits())
    }

    fn begin(&self, client: &Client, work: impl Future<Output = ()> + 'static) {
        let (closing, name) = (self.closing.clone(), client.name.clone());
        closing.enter(&name);
        client.io.spawn(async move {
            work.await;
            closing.leave(&name);
        });
    }

    /// Lets time pass until every client has left; tells the judge of those that have not.
    fn finish(&self) {
        let deadline = self.world.now() + FINISHES_WITHIN;
        while !self.closing.left().is_empty() && self.judge.violation().is_none() {
            if self.world.now() >= deadline {
                return self.judge.note(Fact::Unfinished(self.closing.left()));
            }
            self.world.run_for(Duration::from_millis(20));
        }
    }

    fn populate(&mut self, plan: &Plan, targets: &[Target], admin: Admin) {
        let client = admin.client().clone();
        self.begin(&client, admin.run());
        let kinds = [
            ("idempotent", plan.idempotent, Kind::Idempotent),
            ("relaxed", plan.relaxed, Kind::Once(Promise::Written)),
            ("careful", plan.careful, Kind::Once(Promise::Durable)),
        ];
        for (name, count, kind) in kinds {
            for number in 0..count {
                let (client, rng) = (self.client(format!("{name} producer {number}")), self.rng());
                let producer = Producer::new(client.clone(), kind, rng, &self.some(targets));
                self.begin(&client, producer.run());
            }
        }
        for number in 0..plan.consumers {
            let (client, rng) = (self.client(format!("consumer {number}")), self.rng());
            self.begin(&client, Consumer::new(client.clone(), rng, targets).run());
        }
        for (id, group) in (0..).map(GroupId).zip(&plan.groups) {
            let shared = Group::new(id, targets, group.protocol == Protocol::Both);
            for number in 0..group.members {
                let (client, rng) = (self.client(format!("member {number} of {id}")), self.rng());
                let (member, shared) = (client.clone(), shared.clone());
                let is_classic = match group.protocol {
                    Protocol::Classic => true,
                    Protocol::Consumer => false,
                    Protocol::Both => number % 2 == 0,
                };
                match is_classic {
                    true => self.begin(&client, ClassicMember::new(member, shared, rng).run()),
                    false => self.begin(&client, ConsumerMember::new(member, shared, rng).run()),
                }
            }
        }
    }

    /// Some of them, at least one.
    fn some(&mut self, targets: &[Target]) -> Vec<Target> {
        let chosen: Vec<Target> = targets.iter().filter(|_| self.rng.chance(0.6)).cloned().collect();
        if chosen.is_empty() { targets[..1].to_vec() } else { chosen }
    }
}

fn live(seed: u64) -> Story {
    let mut rng = Rng::new(!seed);
    let plan = Plan::draw(&mut rng);
    let world = World::new(seed);
    world.set_step_limit(STEP_LIMIT);
    world.set_links(plan.link);
    let server = Server::new(&world, plan.shards);
    let hosts = vec![world.host(1), world.host(1)];
    let judge = Judge::new(hosts[0].core(0));
    let mut stage = Stage {
        world: &world,
        server: server.address(),
        judge: judge.clone(),
        closing: Closing::default(),
        rng: Rng::new(rng.bits()),
        hosts: hosts.clone(),
    };
    let mut admin = Admin::new(stage.client("admin".to_owned()), stage.rng());
    let targets = world.run_until(admin.create_all(&plan.topics));
    stage.populate(&plan, &targets, admin);
    let mut nemesis = Nemesis::new(&world, server, hosts, judge.clone(), Rng::new(rng.bits()), &plan.dangers);
    nemesis.tell(format_args!(
        "{} shards, {} partitions in {} topics that stay, {:?}, {:?}",
        plan.shards,
        targets.len(),
        plan.topics.len(),
        plan.groups,
        plan.dangers
    ));
    for _ in 0..plan.rounds {
        nemesis.strike();
        if judge.violation().is_some() {
            break;
        }
    }
    if judge.violation().is_none() {
        end(&mut stage, &mut nemesis);
    }
    let failure = judge
        .violation()
        .map(|broken| format!("{} at {:.3} s: {}", broken.invariant, broken.at.as_secs_f64(), broken.what));
    let (lasted, trace_hash) = (world.now(), world.trace_hash());
    Story { seed, events: nemesis.into_story(), tally: judge.tally(), lasted, trace_hash, failure }
}

fn end(stage: &mut Stage<'_>, nemesis: &mut Nemesis<'_>) {
    nemesis.heal();
    stage.closing.begin();
    stage.finish();
    if stage.judge.violation().is_some() {
        return;
    }
    nemesis.tell("all clients have finished");
    nemesis.start_anew();
    let mut admin = Admin::new(stage.client("auditor's admin".to_owned()), stage.rng());
    let all = stage.world.run_until(admin.all_partitions());
    nemesis.tell(format_args!("{} partitions are read as a whole", all.len()));
    let client = stage.client("auditor".to_owned());
    let auditor = Consumer::new(client.clone(), stage.rng(), &all);
    stage.begin(&client, auditor.read_whole());
    stage.finish();
}
