use super::*;

/// Sessions with ids 1, 2, 3, …, and a clock in seconds.
struct World {
    sessions: Sessions,
    now: u64,
    last_id: i32,
}

fn topic(name: &str) -> TopicKey {
    TopicKey::Name(name.into())
}

fn wanted(name: &str, partition: i32, offset: i64) -> Wanted {
    Wanted {
        topic: topic(name),
        partition,
        offset,
        max_bytes: 1000,
        current_epoch: -1,
        last_fetched_epoch: -1,
    }
}

fn asked(id: i32, epoch: i32, wanted: &[Wanted]) -> Asked {
    Asked { id, epoch, by_id: false, wanted: wanted.to_vec(), forgotten: Vec::new() }
}

const QUIET: Outcome = Outcome { high_watermark: 5, log_start: 0, has_news: false, has_records: false };
const RECORDS: Outcome = Outcome { high_watermark: 5, log_start: 0, has_news: true, has_records: true };
const FAILED: Outcome = Outcome { high_watermark: -1, log_start: -1, has_news: true, has_records: false };

impl World {
    fn new(slots: usize, most_partitions: usize) -> Self {
        Self { sessions: Sessions::new(slots, most_partitions), now: 0, last_id: 0 }
    }

    fn begin(&mut self, asked: Asked) -> Result<Plan, SessionError> {
        self.sessions.begin(asked, Duration::from_secs(self.now))
    }

    fn finish(&mut self, plan: &Plan, outcomes: &[Outcome]) -> Told {
        let last_id = &mut self.last_id;
        self.sessions.finish(plan, outcomes, Duration::from_secs(self.now), &mut || {
            *last_id += 1;
            *last_id
        })
    }

    /// One request and its answer: the session's id, and what the answer holds.
    fn fetch(&mut self, asked: Asked, outcomes: &[Outcome]) -> (i32, Vec<String>) {
        let plan = self.begin(asked).unwrap();
        assert_eq!(plan.wanted.len(), outcomes.len(), "{plan:?}");
        let told = self.finish(&plan, outcomes);
        let included = plan.wanted.iter().zip(told.included).filter(|(_, included)| *included);
        let shown = included.map(|(wanted, _)| match &wanted.topic {
            TopicKey::Name(name) => format!("{name}-{}", wanted.partition),
            TopicKey::Id(id) => format!("{id}-{}", wanted.partition),
        });
        (told.id, shown.collect())
    }

    /// Opens a session with so many partitions.
    fn open(&mut self, partitions: i32) -> i32 {
        let all: Vec<_> = (0..partitions).map(|partition| wanted("t", partition, 0)).collect();
        self.fetch(asked(0, 0, &all), &vec![QUIET; all.len()]).0
    }
}

#[test]
fn only_what_changed_is_told_again() {
    let mut w = World::new(10, 100);
    let all = [wanted("a", 0, 0), wanted("a", 1, 0), wanted("b", 0, 0)];
    assert_eq!(w.fetch(asked(0, 0, &all), &[QUIET; 3]), (1, vec!["a-0".into(), "a-1".into(), "b-0".into()]));
    assert_eq!(w.fetch(asked(1, 1, &[]), &[QUIET; 3]), (1, vec![]));
    let higher = Outcome { high_watermark: 6, ..QUIET };
    assert_eq!(w.fetch(asked(1, 2, &[]), &[QUIET, higher, QUIET]), (1, vec!["a-1".into()]));
    assert_eq!(w.fetch(asked(1, 3, &[]), &[QUIET, higher, QUIET]), (1, vec![]));
    let later = Outcome { log_start: 3, ..QUIET };
    assert_eq!(w.fetch(asked(1, 4, &[]), &[later, higher, QUIET]), (1, vec!["a-0".into()]));
}

#[test]
fn an_error_is_told_each_time_and_its_end_too() {
    let mut w = World::new(10, 100);
    w.fetch(asked(0, 0, &[wanted("a", 0, 0)]), &[QUIET]);
    let told = vec!["a-0".to_owned()];
    assert_eq!(w.fetch(asked(1, 1, &[]), &[FAILED]), (1, told.clone()));
    assert_eq!(w.fetch(asked(1, 2, &[]), &[FAILED]), (1, told.clone()));
    assert_eq!(w.fetch(asked(1, 3, &[]), &[QUIET]), (1, told));
    assert_eq!(w.fetch(asked(1, 4, &[]), &[QUIET]), (1, vec![]));
}

#[test]
fn who_had_records_goes_to_the_end() {
    let mut w = World::new(10, 100);
    let all = [wanted("a", 0, 0), wanted("a", 1, 0), wanted("a", 2, 0)];
    w.fetch(asked(0, 0, &all), &[QUIET; 3]);
    w.fetch(asked(1, 1, &[]), &[RECORDS, QUIET, QUIET]);
    let order = |plan: &Plan| plan.wanted.iter().map(|wanted| wanted.partition).collect::<Vec<_>>();
    let plan = w.begin(asked(1, 2, &[wanted("a", 0, 9)])).unwrap();
    assert_eq!(order(&plan), [1, 2, 0]);
    assert_eq!(plan.wanted[2].offset, 9, "what the request says anew holds");
}

#[test]
fn partitions_come_and_go() {
    let mut w = World::new(10, 100);
    w.fetch(asked(0, 0, &[wanted("a", 0, 0)]), &[QUIET]);
    let (_, told) = w.fetch(asked(1, 1, &[wanted("b", 0, 0)]), &[QUIET; 2]);
    assert_eq!(told, ["b-0"], "what is new is told");
    let forget = |epoch, name| Asked { forgotten: vec![(topic(name), 0)], ..asked(1, epoch, &[]) };
    assert_eq!(w.fetch(forget(2, "a"), &[QUIET]), (1, vec![]));
    assert_eq!(w.sessions.partitions(), 1);
    assert_eq!(w.fetch(forget(3, "nothing"), &[QUIET]), (1, vec![]));
    // Nothing is left: the session ends.
    assert_eq!(w.fetch(forget(4, "b"), &[]), (0, vec![]));
    assert!(w.sessions.is_empty());
    assert_eq!(w.begin(asked(1, 5, &[])), Err(SessionError::NotFound(1)));
}

#[test]
fn epochs_follow_each_other() {
    let mut w = World::new(10, 100);
    w.open(1);
    assert_eq!(w.begin(asked(7, 1, &[])), Err(SessionError::NotFound(7)));
    assert_eq!(w.begin(asked(1, 2, &[])), Err(SessionError::Epoch { id: 1, expected: 1, found: 2 }));
    assert_eq!(w.fetch(asked(1, 1, &[]), &[QUIET]), (1, vec![]));
    assert_eq!(w.begin(asked(1, 1, &[])), Err(SessionError::Epoch { id: 1, expected: 2, found: 1 }));
    let by_id = Asked { by_id: true, ..asked(1, 2, &[]) };
    assert_eq!(w.begin(by_id), Err(SessionError::TopicIds(1)));
    assert_eq!(next_epoch(i32::MAX), 1);
}

#[test]
fn who_does_not_wait_for_an_answer_loses_the_session() {
    let mut w = World::new(10, 100);
    w.open(3);
    let plan = w.begin(asked(1, 1, &[])).unwrap();
    assert_eq!(w.begin(asked(1, 2, &[])), Err(SessionError::NotFound(1)));
    assert!(w.sessions.is_empty());
    assert_eq!(w.finish(&plan, &[QUIET; 3]), Told { id: 1, included: vec![true; 3] });
}

#[test]
fn full_requests_end_the_session_that_they_name() {
    let mut w = World::new(10, 100);
    w.open(2);
    let (id, told) = w.fetch(asked(1, 0, &[wanted("t", 0, 0)]), &[QUIET]);
    assert_eq!((id, told.len(), w.sessions.len()), (2, 1, 1));
    let (id, told) = w.fetch(asked(2, -1, &[wanted("t", 0, 0)]), &[QUIET]);
    assert_eq!((id, told.len(), w.sessions.len(), w.sessions.partitions()), (0, 1, 0, 0));
    // A request without anything opens nothing.
    assert_eq!(w.fetch(asked(0, 0, &[]), &[]), (0, vec![]));
}

#[test]
fn room_is_made_as_kafka_does() {
    let mut w = World::new(2, 100);
    assert_eq!((w.open(3), w.open(2)), (1, 2));
    assert_eq!(w.open(5), 0, "nobody has lived for long");
    w.now = 121;
    let touched = asked(1, 1, &[]);
    w.fetch(touched, &[QUIET; 3]);
    // The second one was not used for long.
    assert_eq!(w.open(1), 3);
    assert_eq!(w.begin(asked(2, 1, &[])), Err(SessionError::NotFound(2)));
    // The first one has lived for long: it makes room for a larger one only.
    assert_eq!(w.open(3), 0);
    assert_eq!(w.open(4), 4);
    assert_eq!((w.sessions.evicted(), w.sessions.partitions()), (2, 5));
}

#[test]
fn all_sessions_together_are_bounded() {
    let mut w = World::new(10, 5);
    assert_eq!((w.open(3), w.open(3), w.open(2)), (1, 0, 2));
    // A session that grows beyond that is answered once more, and ends.
    let more: Vec<_> = (10..14).map(|partition| wanted("t", partition, 0)).collect();
    let (id, told) = w.fetch(asked(1, 1, &more), &[QUIET; 7]);
    assert_eq!((id, told.len()), (0, 7));
    assert_eq!((w.sessions.len(), w.sessions.partitions()), (1, 2));
    assert_eq!(w.open(6), 0);
}

#[test]
fn an_answer_to_a_session_that_made_room_is_whole() {
    let mut w = World::new(1, 100);
    w.open(1);
    w.now = 200;
    let plan = w.begin(asked(1, 1, &[])).unwrap();
    w.now = 400;
    assert_eq!(w.open(1), 2);
    assert_eq!(w.finish(&plan, &[QUIET]), Told { id: 1, included: vec![true] });
}

#[test]
fn a_partition_named_twice_is_remembered_once() {
    let mut w = World::new(10, 100);
    let twice = [wanted("a", 0, 1), wanted("a", 0, 2)];
    w.fetch(asked(0, 0, &twice), &[QUIET; 2]);
    let plan = w.begin(asked(1, 1, &[])).unwrap();
    assert_eq!((plan.wanted.len(), plan.wanted[0].offset, w.sessions.partitions()), (1, 2, 1));
}
