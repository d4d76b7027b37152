//! The metadata over crashes: what a start reads, from the image and the log, is what the whole log says.

use super::*;
use crate::shard::metadata_image::{self, METADATA_IMAGE};
use crate::shard::metadata_start::replay;
use millrace_io::Open;
use millrace_io::simulated::{Crash, Host, Rng, SimIo, World};
use std::path::Path;

const DATA: &str = "/data";

fn config() -> Arc<Config> {
    Arc::new(Config { data_dirs: vec![DATA.into()], ..Config::default() })
}

async fn start(io: SimIo) -> MetadataDriver<SimIo> {
    MetadataDriver::start(io, config()).await.expect("a start").0
}

/// One change, made durable: a topic of some size comes or goes, or producer ids are given out.
async fn change(driver: &MetadataDriver<SimIo>, rng: &mut Rng, number: u64) {
    let mut deciding = driver.deciding.lock().await;
    let records = match rng.below(4) {
        0 => deciding.controller.allocate_producer_ids(1, -1).expect("plenty").1,
        1 if deciding.image.topic_count() > 2 => {
            let id = deciding.image.topics().next().map(|topic| topic.id);
            deciding.controller.delete_topics(&[TopicTarget { name: None, topic_id: id }]).1
        }
        _ => {
            let name = format!("topic.{number}");
            let partitions = rng.within(1..=700) as i32;
            let configs = vec![("segment.bytes".to_owned(), Some("5000000".to_owned()))];
            let wish = TopicWish { num_partitions: partitions, configs, ..TopicWish::with_defaults(&name) };
            let mut new_id = || random_id(&driver.io);
            let check = |name: &str, value: &str| topic::check(name, value);
            deciding.controller.create_topics(&[wish.borrowed()], false, &check, &mut new_id).1
        }
    };
    assert!(!records.is_empty(), "a change");
    deciding.append(&driver.io, &records).await.expect("the log takes it");
}

fn broker() -> RegisterBrokerRecord {
    RegisterBrokerRecord {
        broker: 1,
        incarnation: Uuid::from_u128(5),
        epoch: -1,
        endpoints: Vec::new(),
        features: Vec::new(),
        rack: None,
        fenced: false,
        in_controlled_shutdown: false,
        log_dirs: Vec::new(),
    }
}

async fn live(io: SimIo, mut rng: Rng, life: u64) {
    let driver = start(io).await;
    driver.register(broker()).await.expect("registered");
    for number in 0..20 {
        change(&driver, &mut rng, life * 100 + number).await;
    }
    match rng.chance(0.5) {
        true => Rc::new(driver).stop(Closed::default()).await.expect("stopped"),
        false => std::future::pending().await,
    }
}

/// What a start makes of the disk, beside what the whole log says; and how far the image was of use.
async fn restart(io: SimIo) -> (Arc<Image>, Image, i64) {
    let driver = start(io).await;
    let deciding = driver.deciding.lock().await;
    let whole = replay(&deciding.log, Image::default()).await.expect("the log");
    let covered = metadata_image::load(&driver.io, Path::new(DATA), &deciding.log).await;
    (deciding.image.clone(), whole, covered.ok().flatten().map_or(0, |image| image.end().get()))
}

fn up_again(host: &Host, how: Crash) -> SimIo {
    host.crash(how);
    host.restart();
    host.core(0)
}

#[test]
fn a_start_finds_what_the_whole_log_says_whenever_the_power_goes() {
    let (mut used, mut partly) = (0, 0);
    for seed in 0..12 {
        let world = World::new(seed);
        let host = world.host(1);
        let mut rng = Rng::new(seed);
        for life in 0..3 {
            let io = host.core(0);
            io.clone().spawn(live(io, Rng::new(rng.bits()), life));
            world.run_steps(rng.within(1..=400));
            let io = up_again(&host, if rng.chance(0.8) { Crash::PowerCut } else { Crash::Kill });
            let (image, whole, covered) = world.run_until(restart(io));
            assert_eq!(*image, whole, "seed {seed}");
            used += i32::from(covered > 0);
            partly += i32::from(covered > 0 && covered < image.end().get());
            up_again(&host, Crash::PowerCut);
        }
    }
    assert!(
        used > 8 && partly > 4,
        "the image was of use in {used} starts, with more in the log in {partly}"
    );
}

/// A host whose image is at the log's end, after a clean stop.
fn stopped(world: &World) -> Host {
    let host = world.host(1);
    world.run_until(async {
        let driver = start(host.core(0)).await;
        driver.register(broker()).await.expect("registered");
        for number in 0..5 {
            change(&driver, &mut Rng::new(world.seed() + number), number).await;
        }
        Rc::new(driver).stop(Closed::default()).await.expect("stopped");
    });
    host
}

#[test]
fn a_clean_stop_leaves_an_image_of_everything() {
    let world = World::new(1);
    let host = stopped(&world);
    let (image, whole, covered) = world.run_until(restart(up_again(&host, Crash::PowerCut)));
    assert_eq!((&*image, covered), (&whole, whole.end().get()));
}

#[test]
fn a_damaged_image_is_passed_over() {
    for seed in 0..20 {
        let world = World::new(seed);
        let host = stopped(&world);
        let io = up_again(&host, Crash::PowerCut);
        host.flip_some_bit(&Path::new(DATA).join(METADATA_IMAGE)).expect("an image");
        let (image, whole, covered) = world.run_until(restart(io));
        assert_eq!((&*image, covered), (&whole, 0), "seed {seed}");
    }
}

#[test]
fn an_image_of_another_log_is_passed_over_and_replaced() {
    let world = World::new(1);
    let host = stopped(&world);
    let path = Path::new(DATA).join(METADATA_IMAGE);
    let foreign = host.peek(&path).expect("an image");
    // The same number of records, with other ids in them.
    let other_world = World::new(2);
    let other = stopped(&other_world);
    assert_ne!(other.peek(&path).expect("an image"), foreign);
    other_world.run_until(async {
        let io = other.core(0);
        let file = io.open(&path, Open::Create).await.expect("the file");
        io.truncate(&file, 0).await.expect("cut");
        io.write_at(&file, 0, vec![foreign.into()]).await.expect("room");
        io.sync(&file).await.expect("synced");
    });
    let io = up_again(&other, Crash::PowerCut);
    let (image, whole, covered) = other_world.run_until(restart(io));
    assert_eq!((&*image, covered), (&whole, 0));
    other_world.run_until(async {
        up_again(&other, Crash::PowerCut);
        Rc::new(start(other.core(0)).await).stop(Closed::default()).await.expect("stopped");
    });
    let (image, whole, covered) = other_world.run_until(restart(up_again(&other, Crash::PowerCut)));
    assert_eq!((&*image, covered), (&whole, whole.end().get()));
}
