//! What goes wrong: draws a fault among those that the world knows, lets it strike, and heals everything at the end.

use crate::judge::{Fact, Judge};
use crate::plan::{Dangers, millis};
use crate::server::{Phase, Server};
use millrace_io::simulated::{Crash, Host, Operation, Rng, Target, World};
use std::time::Duration;

/// A fault that may strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    PowerCut,
    Stop,
    Cut,
    Reset,
    FullDisk,
    FailedSync,
    FailedWrite,
    StillDisk,
}

/// Who lets things go wrong.
pub struct Nemesis<'w> {
    world: &'w World,
    server: Server,
    clients: Vec<Host>,
    judge: Judge,
    rng: Rng,
    faults: Vec<Fault>,
    /// The disk is full now.
    full: bool,
    /// An operation of the disk will fail.
    armed: bool,
    /// In this life of the broker something failed that only a restart heals.
    needs_restart: bool,
    /// In this life of the broker a write or sync failed: what was written need not be there after it.
    distrusted: bool,
    story: Vec<String>,
}

impl<'w> Nemesis<'w> {
    /// Somebody with power over this broker and the hosts of its clients.
    pub fn new(
        world: &'w World,
        server: Server,
        clients: Vec<Host>,
        judge: Judge,
        rng: Rng,
        dangers: &Dangers,
    ) -> Self {
        let faults = [
            (dangers.kill, Fault::Kill),
            (dangers.power_cut, Fault::PowerCut),
            (dangers.stop, Fault::Stop),
            (dangers.network, Fault::Cut),
            (dangers.network, Fault::Reset),
            (dangers.full_disk, Fault::FullDisk),
            (dangers.broken_disk, Fault::FailedSync),
            (dangers.broken_disk, Fault::FailedWrite),
            (dangers.slow_disk, Fault::StillDisk),
        ];
        let faults = faults.into_iter().filter_map(|(known, fault)| known.then_some(fault)).collect();
        Self {
            world,
            server,
            clients,
            judge,
            rng,
            faults,
            full: false,
            armed: false,
            needs_restart: false,
            distrusted: false,
            story: Vec::new(),
        }
    }

    /// What happened, with times.
    pub fn into_story(self) -> Vec<String> {
        self.story
    }

    /// Adds a line to the story.
    pub fn tell(&mut self, what: impl std::fmt::Display) {
        self.story.push(format!("{:>9.3} s  {what}", self.world.now().as_secs_f64()));
    }

    /// Lets time pass, and then something go wrong.
    pub fn strike(&mut self) {
        self.let_pass();
        self.look_after();
        if self.faults.is_empty() {
            return;
        }
        let fault = self.faults[self.rng.index(self.faults.len())];
        match fault {
            Fault::Kill => self.crash(Crash::Kill),
            Fault::PowerCut => self.crash(Crash::PowerCut),
            Fault::Stop => self.stop(),
            Fault::Cut => self.cut(),
            Fault::Reset => {
                self.tell("connections are reset");
                self.clients.iter().for_each(|client| self.world.reset(client, &self.server.host));
            }
            Fault::FullDisk => self.fill_disk(),
            Fault::FailedSync => self.break_disk(Operation::Sync),
            Fault::FailedWrite => self.break_disk(Operation::Write),
            Fault::StillDisk => {
                let time = millis(&mut self.rng, 100, 4_000);
                self.tell(format_args!("the disk stands still for {time:?}"));
                self.server.host.freeze_disk(time);
            }
        }
    }

    fn let_pass(&mut self) {
        if self.rng.chance(0.3) {
            let steps = self.rng.within(1..=20_000);
            self.world.run_steps(steps);
        } else {
            let time = millis(&mut self.rng, 20, 2_500);
            self.world.run_for(time);
        }
    }

    /// A broker that could not start is started again; unless a fault explains it, the judge is told.
    fn look_after(&mut self) {
        let Phase::Failed(why) = self.server.phase() else { return };
        if !self.needs_restart && !self.full {
            self.judge.note(Fact::StartFailed(why.clone()));
        }
        self.tell(format_args!("the broker could not start: {why}"));
        self.heal_disk();
        self.crash(Crash::Kill);
    }

    /// The broker dies, is down for a while, and starts again, perhaps more than once.
    fn crash(&mut self, how: Crash) {
        loop {
            self.tell(format_args!("{how:?}"));
            self.judge.note(Fact::Crashed { keeps_written: how == Crash::Kill && !self.distrusted });
            self.server.crash(how);
            // A disk that still fails now fails recovery.
            if self.armed && self.rng.chance(0.7) {
                self.heal_disk();
            }
            if self.rng.chance(0.5) {
                let down = millis(&mut self.rng, 1, 1_500);
                self.world.run_for(down);
            }
            self.restart();
            if !self.rng.chance(0.2) {
                return;
            }
            let steps = self.rng.within(1..=2_000);
            self.world.run_steps(steps);
        }
    }

    fn restart(&mut self) {
        let shards =
            if self.rng.chance(0.3) { self.rng.within(1..=3) as usize } else { self.server.host.cores() };
        self.tell(format_args!("the broker starts with {shards} shards"));
        // A partition that cannot be opened stays offline.
        (self.needs_restart, self.distrusted) = (self.full || self.armed, self.armed);
        self.server.restart(shards);
    }

    /// The broker is asked to stop, does, and starts again.
    fn stop(&mut self) {
        self.server.settle(self.world);
        if self.server.phase() != Phase::Serving {
            return;
        }
        self.tell("the broker is asked to stop");
        let clean = self.server.stop(self.world);
        let well = !self.full && !self.needs_restart;
        self.tell(format_args!("the broker has stopped, clean: {clean}"));
        if well {
            self.judge.note(Fact::Stopped { clean });
        }
        let how = if self.rng.chance(0.5) { Crash::PowerCut } else { Crash::Kill };
        self.server.crash(how);
        // What was closed cleanly is durable: even a power cut takes nothing.
        self.judge.note(Fact::Crashed { keeps_written: clean });
        let log_reads = self.server.count_log_reads();
        self.restart();
        self.server.settle(self.world);
        if clean && well && self.server.phase() == Phase::Serving {
            let (log_reads, log) = log_reads.most();
            let log = log.unwrap_or_default();
            self.tell(format_args!(
                "it serves again; no log was read more than {log_reads} times ({})",
                log.display()
            ));
            self.judge.note(Fact::StartedClean { log_reads });
        }
    }

    fn cut(&mut self) {
        let time = millis(&mut self.rng, 50, 12_000);
        let client = self.clients[self.rng.index(self.clients.len())].clone();
        let (there, back) = (self.rng.chance(0.7), self.rng.chance(0.7));
        self.tell(format_args!("a link is cut for {time:?} (there: {there}, back: {back})"));
        if there {
            self.world.cut_one_way(&client, &self.server.host);
        }
        if back {
            self.world.cut_one_way(&self.server.host, &client);
        }
        self.world.run_for(time);
        self.world.heal(&client, &self.server.host);
    }

    /// No space is left, and after a while there is again: no restart is needed then.
    fn fill_disk(&mut self) {
        let time = millis(&mut self.rng, 100, 4_000);
        self.tell(format_args!("the disk is full for {time:?}"));
        self.full = true;
        self.needs_restart |= self.server.phase() == Phase::Starting;
        self.server.host.change_faults(|faults| faults.capacity = Some(0));
        self.world.run_for(time);
        if self.rng.chance(0.3) {
            let how = if self.rng.chance(0.5) { Crash::PowerCut } else { Crash::Kill };
            self.crash(how);
            self.world.run_for(Duration::from_millis(500));
        }
        self.heal_disk();
    }

    /// One operation on some log fails.
    fn break_disk(&mut self, operation: Operation) {
        let after = self.rng.below(20);
        self.tell(format_args!("a {operation:?} of a log fails (after {after} more)"));
        (self.armed, self.needs_restart, self.distrusted) = (true, true, true);
        let log = |path: &std::path::Path| path.extension().is_some_and(|extension| extension == "log");
        let target = Target::new(operation, log).after(after).times(1);
        self.server.host.change_faults(|faults| faults.targets.push(target));
    }

    fn heal_disk(&mut self) {
        (self.full, self.armed) = (false, false);
        self.server.heal_disk();
    }

    /// Everything works from now on, and stays so.
    pub fn heal(&mut self) {
        self.tell("everything is healed");
        self.heal_disk();
        self.server.host.freeze_disk(Duration::ZERO);
        self.clients.iter().for_each(|client| self.world.heal(client, &self.server.host));
        self.server.settle(self.world);
        self.look_after();
        if self.needs_restart {
            self.faults.clear();
            self.crash(Crash::Kill);
            self.heal_disk();
        }
        self.server.settle(self.world);
        match self.server.phase() {
            Phase::Serving => {}
            Phase::Failed(why) => self.judge.note(Fact::StartFailed(why)),
            phase => self.judge.note(Fact::StartFailed(format!("it is {phase:?} after a long time"))),
        }
    }

    /// A last stop and start, or crash and start, so that the end is read from what the disk kept.
    pub fn start_anew(&mut self) {
        match self.rng.below(3) {
            0 => self.stop(),
            1 => self.crash(Crash::Kill),
            _ => self.crash(Crash::PowerCut),
        }
        self.server.settle(self.world);
    }
}
