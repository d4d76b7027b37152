//! The contract: time, tasks and counters.

use super::*;

pub async fn sleeps_end_in_order<I: Io>(io: I, _dir: PathBuf) {
    let order = Rc::new(RefCell::new(Vec::new()));
    let start = io.now();
    for millis in [60, 20, 80, 40] {
        let (task, order) = (io.clone(), order.clone());
        io.spawn(async move {
            task.sleep(Duration::from_millis(millis)).await;
            assert!(task.now() >= start + Duration::from_millis(millis));
            order.borrow_mut().push(millis);
        });
    }
    while order.borrow().len() < 4 {
        io.sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(*order.borrow(), [20, 40, 60, 80]);
}

pub async fn a_deadline_in_the_past_is_over<I: Io>(io: I, _dir: PathBuf) {
    io.sleep(Duration::from_millis(2)).await;
    within(&io, "the past", io.sleep_until(Duration::ZERO)).await;
    within(&io, "no time at all", io.sleep(Duration::ZERO)).await;
}

pub async fn time_is_monotonic<I: Io>(io: I, _dir: PathBuf) {
    let (mut last, wall) = (io.now(), io.wall_clock());
    assert!(wall > 1_600_000_000_000, "{wall} is no time of day in milliseconds");
    for _ in 0..100 {
        io.yield_now().await;
        let now = io.now();
        assert!(now >= last);
        last = now;
    }
    io.sleep(Duration::from_millis(20)).await;
    assert!(io.now() >= last + Duration::from_millis(20));
}

pub async fn yielding_lets_others_run<I: Io>(io: I, _dir: PathBuf) {
    let ran = Rc::new(Cell::new(0));
    for _ in 0..10 {
        let (task, ran) = (io.clone(), ran.clone());
        io.spawn(async move {
            ran.set(ran.get() + 1);
            task.yield_now().await;
            ran.set(ran.get() + 1);
        });
    }
    io.yield_now().await;
    assert!(ran.get() >= 10, "only {} ran", ran.get());
    within(&io, "the others", async {
        while ran.get() < 20 {
            io.yield_now().await;
        }
    })
    .await;
}

pub async fn spawned_tasks_never_run_inline<I: Io>(io: I, _dir: PathBuf) {
    let ran = Rc::new(Cell::new(false));
    let flag = ran.clone();
    io.spawn(async move { flag.set(true) });
    assert!(!ran.get());
    io.yield_now().await;
    assert!(ran.get());
}

pub async fn counters_grow<I: Io>(io: I, dir: PathBuf) {
    let before = io.counters();
    let file = file_with(&io, &dir.join("f"), pattern(1234, 11)).await;
    io.sync(&file).await.unwrap();
    let mut pair = pair(&io).await;
    pair.client.1.write(vec![pattern(100, 1), pattern(50, 2)]).await.unwrap();
    pair.client.1.send_file(&file, 0, 1000, true).await.unwrap();
    let got = within(&io, "the bytes", pair.server.0.read_exact(BytesMut::new(), 1150)).await.unwrap();
    assert_eq!(got.len(), 1150);
    let after = io.counters();
    assert!(after.written_bytes >= before.written_bytes + 1234 && after.writes > before.writes);
    assert!(after.syncs > before.syncs && after.sent_bytes >= before.sent_bytes + 150);
    assert!(after.received_bytes >= before.received_bytes + 1150);
    assert!(after.hot_bytes + after.cold_bytes >= before.hot_bytes + before.cold_bytes + 1000);
}

pub async fn random_numbers_differ<I: Io>(io: I, _dir: PathBuf) {
    let drawn: std::collections::BTreeSet<u64> = (0..100).map(|_| io.random()).collect();
    assert_eq!(drawn.len(), 100);
}
