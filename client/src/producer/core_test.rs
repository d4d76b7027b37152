use super::*;
use crate::producer::{Acks, Placed};
use crate::record::Compression;
use bytes::Bytes;
use millrace_proto::batch::{Header, verify};
use std::collections::BTreeMap as Map;
use tokio::sync::Semaphore;

type Outcome = oneshot::Receiver<Result<Placed, Error>>;

/// A core with its clock, and the deliveries of what was handed over.
struct Scene {
    core: Core,
    now: Duration,
    deliveries: Vec<Outcome>,
}

fn options() -> Options {
    Options {
        linger: Duration::ZERO,
        delivery_timeout: Duration::from_secs(10),
        wall_clock: || 7,
        ..Options::default()
    }
}

impl Scene {
    fn new(options: Options) -> Self {
        let mut next = 0;
        let random = Box::new(move || {
            next += 1;
            next
        });
        Scene { core: Core::new(options, random), now: Duration::from_secs(1), deliveries: Vec::new() }
    }

    /// As `new`, and the producer knows who it is.
    fn identified(options: Options) -> Self {
        let mut scene = Scene::new(options);
        scene.core.identity = Identity::Known(9, 0);
        scene
    }

    fn hand(&mut self, record: Record) {
        let (done, outcome) = oneshot::channel();
        let memory = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("free");
        self.core.on_record(record, Promise::new(done, memory), self.now);
        self.deliveries.push(outcome);
    }

    fn hand_to(&mut self, partition: i32, values: &[&'static str]) {
        values.iter().for_each(|value| self.hand(Record::new("t").partition(partition).value(*value)));
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.core.next_action(self.now)).collect()
    }

    /// The batches that are sent now: id, partition, base sequence, records.
    fn sent(&mut self) -> Vec<(i64, i32, i32, i32)> {
        let actions = self.actions();
        let batches = actions.into_iter().flat_map(|action| match action {
            Action::Send(request) => request.batches,
            other => panic!("{other:?}"),
        });
        batches
            .map(|batch| {
                let header = header(&batch);
                (batch.id, batch.partition.expect("set"), header.base_sequence, header.record_count)
            })
            .collect()
    }

    fn placed(&mut self, id: i64, partition: i32, base: i64) {
        let part = v1::PartitionResult { partition, base_offset: Some(base), ..Default::default() };
        let result = v1::ProduceResult { id, error: None, partitions: vec![part] };
        self.core.on_result(result, self.now).expect("its turn");
    }

    fn refused(&mut self, id: i64, partition: i32, reason: &str, retriable: bool) {
        let error = v1::Error { reason: reason.into(), retriable, ..Default::default() };
        let part = v1::PartitionResult { partition, error: Some(error), ..Default::default() };
        let result = v1::ProduceResult { id, error: None, partitions: vec![part] };
        self.core.on_result(result, self.now).expect("its turn");
    }

    /// What is known by now: the offset, or the reason why not; nothing for what is still under way.
    fn outcomes(&mut self) -> Vec<Option<Result<i64, String>>> {
        let outcome = |receiver: &mut Outcome| match receiver.try_recv().ok()? {
            Ok(placed) => Some(Ok(placed.offset.expect("acknowledged"))),
            Err(error) => Some(Err(error.reason)),
        };
        self.deliveries.iter_mut().map(outcome).collect()
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

fn header(batch: &v1::ProduceBatch) -> Header {
    verify(batch.record_batch.as_ref().expect("whole batches")).expect("sound")
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_producer_asks_who_it_is_and_how_many_partitions_there_are() {
    let mut scene = Scene::new(options());
    assert_eq!(scene.actions(), []);
    scene.hand(Record::new("t").key("foobar").value("x"));
    assert_eq!(scene.actions(), [Action::Describe("t".into())]);
    scene.core.on_described(&"t".into(), Ok(3), scene.now);
    assert_eq!(scene.actions(), [Action::InitProducer]);
    scene.core.on_identity(Ok((9, 2)), scene.now);
    let Some(Action::Send(request)) = scene.core.next_action(scene.now) else { panic!("a batch") };
    let header = header(&request.batches[0]);
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (9, 2, 0));
    assert_eq!(header.max_timestamp, 7);
    scene.placed(0, request.batches[0].partition.expect("set"), 40);
    assert_eq!(scene.outcomes(), [Some(Ok(40))]);
    assert!(scene.core.is_idle());
}

#[test]
fn records_gather_until_a_batch_is_full_or_has_lingered() {
    let mut scene = Scene::identified(Options { linger: SECOND, batch_size: 400, ..options() });
    scene.hand_to(0, &["a", "b"]);
    scene.hand_to(1, &["c"]);
    assert_eq!(scene.sent(), []);
    assert_eq!(scene.core.next_deadline(scene.now), Some(scene.now + SECOND));
    scene.hand(Record::new("t").partition(0).value(vec![0; 320]));
    assert_eq!(scene.sent(), [(0, 0, 0, 2)], "there was no room for the third");
    scene.wait(SECOND);
    assert_eq!(scene.sent(), [(1, 0, 2, 1), (2, 1, 0, 1)]);
}

#[test]
fn a_flush_does_not_linger_and_ends_with_the_last_answer() {
    let mut scene =
        Scene::identified(Options { linger: 100 * SECOND, delivery_timeout: 1000 * SECOND, ..options() });
    scene.hand_to(0, &["a"]);
    let (done, mut flushed) = oneshot::channel();
    scene.core.on_flush(done);
    scene.hand_to(1, &["later"]);
    assert_eq!(scene.sent(), [(0, 0, 0, 1)]);
    assert!(flushed.try_recv().is_err());
    scene.placed(0, 0, 0);
    assert!(flushed.try_recv().is_ok());
    let (done, mut flushed) = oneshot::channel();
    scene.core.on_flush(done);
    assert_eq!(scene.sent(), [(1, 1, 0, 1)]);
    scene.placed(1, 1, 0);
    assert!(flushed.try_recv().is_ok());
}

#[test]
fn what_fails_is_sent_again_in_its_order_with_its_number() {
    let mut scene = Scene::identified(Options { max_in_flight: 3, ..options() });
    for value in ["a", "b", "c", "d"] {
        scene.hand_to(0, &[value]);
        scene.actions();
    }
    scene.refused(0, 0, "NOT_LEADER_OR_FOLLOWER", true);
    scene.refused(1, 0, "OUT_OF_ORDER_SEQUENCE_NUMBER", false);
    assert_eq!(scene.sent(), [], "one is still under way");
    scene.refused(2, 0, "OUT_OF_ORDER_SEQUENCE_NUMBER", false);
    assert_eq!(scene.sent(), [], "it is too early");
    scene.wait(SECOND);
    assert_eq!(scene.sent(), [(3, 0, 0, 1), (4, 0, 1, 1), (5, 0, 2, 1)]);
    for id in 3..6 {
        scene.placed(id, 0, id);
    }
    assert_eq!(scene.sent(), [(6, 0, 3, 1)]);
    scene.placed(6, 0, 6);
    assert_eq!(scene.outcomes(), (3..7).map(|offset| Some(Ok(offset))).collect::<Vec<_>>());
}

#[test]
fn a_broken_stream_loses_nothing() {
    let mut scene = Scene::identified(options());
    scene.hand_to(0, &["a"]);
    scene.hand_to(1, &["b"]);
    assert_eq!(scene.sent().len(), 2);
    scene.hand_to(0, &["c"]);
    assert_eq!(scene.sent(), [(2, 0, 1, 1)]);
    scene.core.on_broken(&Error::disconnected("gone"), scene.now);
    assert_eq!(scene.sent(), []);
    scene.wait(SECOND);
    assert_eq!(scene.sent(), [(3, 0, 0, 1), (4, 0, 1, 1), (5, 1, 0, 1)]);
}

#[test]
fn what_is_refused_for_good_leaves_no_gap() {
    let mut scene = Scene::identified(options());
    for value in ["a", "too large", "c"] {
        scene.hand_to(0, &[value]);
        scene.actions();
    }
    scene.placed(0, 0, 0);
    scene.refused(1, 0, "MESSAGE_TOO_LARGE", false);
    scene.refused(2, 0, "OUT_OF_ORDER_SEQUENCE_NUMBER", false);
    assert_eq!(scene.sent(), [(3, 0, 2, 1)], "it may be there: only the broker knows");
    scene.refused(3, 0, "OUT_OF_ORDER_SEQUENCE_NUMBER", false);
    assert_eq!(scene.actions(), [Action::InitProducer], "no number is used twice");
    scene.core.on_identity(Ok((10, 0)), scene.now);
    assert_eq!(scene.sent(), [(4, 0, 0, 1)]);
    scene.placed(4, 0, 1);
    assert_eq!(scene.outcomes(), [Some(Ok(0)), Some(Err("MESSAGE_TOO_LARGE".into())), Some(Ok(1))]);
}

#[test]
fn a_producer_that_is_forgotten_begins_anew_when_nothing_is_in_doubt() {
    let mut scene = Scene::identified(options());
    for partition in [0, 0, 1] {
        scene.hand_to(partition, &["x"]);
        scene.actions();
    }
    scene.refused(0, 0, "UNKNOWN_PRODUCER_ID", false);
    scene.refused(1, 0, "OUT_OF_ORDER_SEQUENCE_NUMBER", false);
    assert_eq!(scene.actions(), [], "what became of the other partition's batch is not known");
    scene.placed(2, 1, 5);
    assert_eq!(scene.actions(), [Action::InitProducer]);
    scene.core.on_identity(Ok((10, 0)), scene.now);
    assert_eq!(scene.sent(), [(3, 0, 0, 1), (4, 0, 1, 1)]);
}

#[test]
fn time_is_over_at_last() {
    let mut scene = Scene::identified(options());
    scene.hand_to(0, &["in doubt"]);
    assert_eq!(scene.sent().len(), 1);
    scene.wait(SECOND);
    scene.hand(Record::new("unknown").value("waits for a number of partitions"));
    assert_eq!(scene.actions(), [Action::Describe("unknown".into())]);
    scene.wait(9 * SECOND);
    assert_eq!(scene.actions(), [Action::Hang]);
    let timed_out = Some(Err("REQUEST_TIMED_OUT".to_owned()));
    scene.wait(SECOND);
    assert_eq!(scene.actions(), []);
    assert_eq!(scene.outcomes(), [timed_out.clone(), timed_out]);
    assert!(scene.core.is_idle());
    // It may have been appended: the next batch must not have the number behind it.
    scene.hand_to(0, &["y"]);
    assert_eq!(scene.actions(), [Action::InitProducer]);
}

#[test]
fn the_number_of_a_batch_that_may_be_there_is_not_given_to_the_next() {
    let mut scene = Scene::identified(options());
    scene.hand_to(0, &["appended, and not acknowledged in time"]);
    assert_eq!(scene.sent(), [(0, 0, 0, 1)]);
    scene.wait(5 * SECOND);
    scene.hand_to(0, &["next"]);
    assert_eq!(scene.sent(), [(1, 0, 1, 1)]);
    scene.wait(5 * SECOND);
    scene.refused(0, 0, "REQUEST_TIMED_OUT", true);
    scene.placed(1, 0, 1);
    assert_eq!(scene.actions(), []);
    assert_eq!(scene.outcomes(), [Some(Err("REQUEST_TIMED_OUT".into())), Some(Ok(1))]);
    scene.hand_to(0, &["another"]);
    assert_eq!(scene.actions(), [Action::InitProducer]);
}

#[test]
fn an_unknown_topic_is_made_by_its_first_record() {
    let mut scene = Scene::identified(options());
    scene.hand(Record::new("new").value("x"));
    scene.actions();
    let unknown = Error { reason: "UNKNOWN_TOPIC_OR_PARTITION".into(), ..Error::new(Code::NotFound, "none") };
    scene.core.on_described(&"new".into(), Err(unknown), scene.now);
    assert_eq!(scene.sent(), [(0, 0, 0, 1)]);
    scene.placed(0, 0, 0);
    assert_eq!(scene.actions(), [Action::Describe("new".into())], "it has as many as the broker gave it");
}

#[test]
fn without_numbers_nothing_is_asked() {
    let mut scene = Scene::new(Options { acks: Acks::Leader, idempotence: false, ..options() });
    scene.hand_to(0, &["a"]);
    assert_eq!(scene.sent(), [(0, 0, -1, 1)]);
    scene.refused(0, 0, "NOT_ENOUGH_REPLICAS", true);
    scene.wait(SECOND);
    assert_eq!(scene.sent(), [(1, 0, -1, 1)]);
}

#[test]
fn a_record_that_is_too_large_is_refused_here() {
    let mut scene = Scene::identified(Options { max_request_size: 1000, ..options() });
    scene.hand(Record::new("t").partition(0).value(vec![0; 1000]));
    scene.hand_to(0, &["fits"]);
    assert_eq!(scene.sent(), [(0, 0, 0, 1)]);
    scene.placed(0, 0, 3);
    assert_eq!(scene.outcomes(), [Some(Err("MESSAGE_TOO_LARGE".into())), Some(Ok(3))]);
}

#[test]
fn batches_are_compressed() {
    let mut scene = Scene::identified(Options { compression: Compression::Zstd, ..options() });
    scene.hand(Record::new("t").partition(0).value(vec![7; 5000]));
    let Some(Action::Send(request)) = scene.core.next_action(scene.now) else { panic!("a batch") };
    let batch = &request.batches[0];
    assert_eq!(header(batch).codec(), Ok(Compression::Zstd));
    assert!(batch.record_batch.as_ref().is_some_and(|bytes| bytes.len() < 500));
}

/// A broker that refuses, forgets and breaks at random, and knows Kafka's rule for numbers.
#[test]
fn every_record_is_there_once_and_in_order_whatever_happens() {
    for seed in 0..300u64 {
        let mut rng = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move |n: u64| {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            rng % n
        };
        let mut scene = Scene::new(Options { delivery_timeout: 100_000 * SECOND, ..options() });
        let (mut logs, mut expected) = (Map::<i32, Vec<Bytes>>::new(), Map::<i32, usize>::new());
        let mut next: Map<(i32, i64), i32> = Map::new();
        let (mut requests, mut ids) = (VecDeque::<v1::ProduceBatch>::new(), 0);
        for step in 0..400 {
            if step < 200 && random(2) == 0 {
                let partition = random(3) as i32;
                *expected.entry(partition).or_default() += 1;
                scene.hand(Record::new("t").partition(partition).value(vec![step as u8; 10]));
            }
            for action in scene.actions() {
                match action {
                    Action::Send(request) => requests.extend(request.batches),
                    Action::InitProducer => {
                        ids += 1;
                        let now = scene.now;
                        scene.core.on_identity(Ok((ids, 0)), now);
                    }
                    other => panic!("{other:?}"),
                }
            }
            let calm = step > 300;
            if !calm && random(20) == 0 {
                // Some of them are appended before the connection breaks.
                let survive = random(requests.len() as u64 + 1) as usize;
                for batch in requests.drain(..).take(survive) {
                    append(&batch, &mut logs, &mut next);
                }
                let now = scene.now;
                scene.core.on_broken(&Error::disconnected("gone"), now);
            } else if let Some(batch) = requests.pop_front() {
                let (id, partition) = (batch.id, batch.partition.expect("set"));
                if !calm && random(10) == 0 {
                    scene.refused(id, partition, "NOT_LEADER_OR_FOLLOWER", true);
                } else {
                    match append(&batch, &mut logs, &mut next) {
                        true => scene.placed(id, partition, 0),
                        false => scene.refused(id, partition, "OUT_OF_ORDER_SEQUENCE_NUMBER", false),
                    }
                }
            }
            scene.wait(SECOND);
        }
        let counts: Map<i32, usize> = logs.iter().map(|(partition, log)| (*partition, log.len())).collect();
        assert_eq!(counts, expected, "seed {seed}");
        assert!(logs.values().all(|log| log.is_sorted_by_key(|value| value[0])), "seed {seed}");
        assert!(scene.outcomes().iter().all(|outcome| matches!(outcome, Some(Ok(_)))), "seed {seed}");
    }
}

/// Whether the batch was taken, now or before.
fn append(
    batch: &v1::ProduceBatch,
    logs: &mut Map<i32, Vec<Bytes>>,
    next: &mut Map<(i32, i64), i32>,
) -> bool {
    let (header, partition) = (header(batch), batch.partition.expect("set"));
    let due = next.entry((partition, header.producer_id)).or_default();
    if header.base_sequence > *due {
        return false;
    }
    if header.base_sequence == *due {
        *due += header.record_count;
        let mut scratch = Vec::new();
        let bytes = batch.record_batch.as_ref().expect("whole");
        let records =
            millrace_proto::batch::records(bytes, &mut scratch, &Default::default()).expect("sound");
        let values = records.map(|record| Bytes::copy_from_slice(record.expect("sound").value.expect("set")));
        logs.entry(partition).or_default().extend(values);
    }
    true
}
