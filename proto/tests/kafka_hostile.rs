//! What strangers send: requests cut short, with absurd lengths, or of noise. Nothing panics, everything cut short is
//! refused, and no frame makes the decoder reserve more than a small multiple of its own size.

mod kafka_support;
#[path = "../fuzz/src/kafka.rs"]
#[allow(dead_code)]
mod targets;

use std::alloc::System;
use std::time::{Duration, Instant};

use arbitrary::Unstructured;
use kafka_support::pool;
use millrace_proto::for_each_served_api;
use millrace_proto::kafka::api::{self, ApiKey, Request};
use millrace_proto::kafka::arbitrary::Sample;
use millrace_proto::kafka::header::{self, RequestHeader};
use millrace_proto::kafka::messages::{
    alter_configs::*, alter_partition_reassignments::*, alter_replica_log_dirs::*, api_versions::*,
    consumer_group_describe::*, consumer_group_heartbeat::*, create_partitions::*, create_topics::*,
    delete_groups::*, delete_records::*, delete_topics::*, describe_cluster::*, describe_configs::*,
    describe_groups::*, describe_log_dirs::*, describe_producers::*, describe_quorum::*,
    describe_topic_partitions::*, elect_leaders::*, fetch::*, find_coordinator::*, heartbeat::*,
    incremental_alter_configs::*, init_producer_id::*, join_group::*, leave_group::*,
    list_config_resources::*, list_groups::*, list_offsets::*, list_partition_reassignments::*, metadata::*,
    offset_commit::*, offset_delete::*, offset_fetch::*, offset_for_leader_epoch::*, produce::*,
    sync_group::*, update_features::*,
};
use millrace_proto::kafka::wire::{DecodeError, MEMORY_FACTOR, Malformed, memory_limit};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Beyond [`MEMORY_FACTOR`] times the input: what the allocator and the test's own threads may add.
const SLACK: usize = 1024;

/// Requests as clients could send them: the API, the version, the body.
fn requests(seeds: u64) -> Vec<(ApiKey, i16, Vec<u8>)> {
    fn body<'a, R: Request + Sample<'a>>(pool: &'a [u8], version: i16) -> Vec<u8> {
        let request = R::sample(&mut Unstructured::new(pool)).unwrap();
        let frame = header::encode_request(version, 1, None, &request).unwrap();
        RequestHeader::decode(&frame[4..]).unwrap().1.to_vec()
    }
    macro_rules! one_body {
        (($key:expr, $pool:expr, $version:expr) $($name:ident $request:ident $response:ident;)*) => {
            match $key {
                $(ApiKey::$name => body::<$request>($pool, $version),)*
                other => panic!("{other} is not served"),
            }
        };
    }
    let mut all = Vec::new();
    for api in api::supported() {
        for version in api.served.clone() {
            for seed in 0..seeds {
                let pool = pool(seed, 160);
                all.push((api.key, version, for_each_served_api!(one_body!(api.key, &pool, version))));
            }
        }
    }
    all
}

/// Decodes only, and drops the result: what a connection does first with a body.
fn decode(key: ApiKey, version: i16, body: &[u8]) -> Result<(), DecodeError> {
    macro_rules! decode_one {
        ($($name:ident $request:ident $response:ident;)*) => {
            match key {
                $(ApiKey::$name => api::decode_request::<$request>(body, version).map(drop),)*
                other => panic!("{other} is not served"),
            }
        };
    }
    for_each_served_api!(decode_one!)
}

/// Decodes, and tells how many bytes that allocated in total.
fn decode_counting(key: ApiKey, version: i16, body: &[u8]) -> (Result<(), DecodeError>, usize) {
    let region = Region::new(ALLOCATOR);
    let result = decode(key, version, body);
    (result, region.change().bytes_allocated)
}

/// Decodes, and checks what that allocated.
fn decode_within_bounds(key: ApiKey, version: i16, body: &[u8]) -> Result<(), DecodeError> {
    let (result, allocated) = decode_counting(key, version, body);
    let most = MEMORY_FACTOR * body.len() + SLACK;
    assert!(allocated <= most, "{key} {version}: {allocated} bytes for {} ({body:x?})", body.len());
    result
}

/// Absurd lengths and counts, in every width they have on the wire.
const ABSURD: [&[u8]; 7] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xfe],
    &[0x00, 0x01, 0x00, 0x00],
    &[0x7f, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0x7f],
    &[0x80],
];

/// One test, so that nothing else allocates while it counts.
#[test]
fn hostile_requests_are_refused_in_bounded_memory() {
    for (key, version, body) in requests(2) {
        assert_eq!(decode_within_bounds(key, version, &body), Ok(()), "{key} {version}");
        for cut in 0..body.len() {
            let result = decode_within_bounds(key, version, &body[..cut]);
            assert!(result.is_err(), "{key} {version} cut at {cut} of {}", body.len());
        }
        let mut longer = body.clone();
        longer.push(0);
        // Not looked at, as in Kafka: some clients leave bytes there.
        assert_eq!(
            decode_within_bounds(key, version, &longer),
            Ok(()),
            "{key} {version} with a byte behind it"
        );
        for at in 0..body.len() {
            for absurd in ABSURD {
                let mut changed = body.clone();
                changed.truncate(at);
                changed.extend_from_slice(absurd);
                changed.extend_from_slice(body.get(at + absurd.len()..).unwrap_or_default());
                let _ = decode_within_bounds(key, version, &changed);
            }
        }
    }
    small_elements_stay_within_bounds();
    the_worst_request_comes_near_the_factor();
    noise_is_survived(Duration::from_secs(1));
}

/// Wherever a count may stand: as many elements as fit, each as small as can be.
fn small_elements_stay_within_bounds() {
    const REST: usize = 4096;
    for (key, version, body) in requests(1) {
        for at in 0..body.len().min(48) {
            for count in [1, 2, 3, 4, 6, 10].map(|min_size| REST / min_size) {
                let compact = [(count + 1) as u8 | 0x80, ((count + 1) >> 7) as u8];
                let classic = (count as i32).to_be_bytes();
                for prefix in [&compact[..], &classic] {
                    let mut changed = body[..at].to_vec();
                    changed.extend_from_slice(prefix);
                    changed.resize(changed.len() + REST, 1);
                    let _ = decode_within_bounds(key, version, &changed);
                }
            }
        }
    }
}

/// The worst request there is: as many resources as could follow, and the first has as many keys as could follow.
fn worst_request(resources: usize) -> Vec<u8> {
    let compact = |count: usize| {
        let length = count + 1;
        [(length & 0x7f | 0x80) as u8, (length >> 7 & 0x7f | 0x80) as u8, (length >> 14) as u8]
    };
    let mut body = compact(resources).to_vec();
    body.extend([2, 1]);
    body.extend(compact(4 * resources));
    body.resize(4 * resources + 8, 1);
    body
}

/// It must come near the factor, or the factor means nothing; and a long one is refused before it takes more than the
/// limit.
fn the_worst_request_comes_near_the_factor() {
    let body = worst_request(1000);
    let (result, allocated) = decode_counting(ApiKey::DescribeConfigs, 4, &body);
    assert!(result.is_err());
    let factor = allocated / body.len();
    assert!((MEMORY_FACTOR * 3 / 4..=MEMORY_FACTOR).contains(&factor), "{factor}");

    let body = worst_request(100_000);
    let (result, allocated) = decode_counting(ApiKey::DescribeConfigs, 4, &body);
    assert!(matches!(result.unwrap_err().why, Malformed::Memory { .. }));
    assert!(allocated <= memory_limit(body.len()) + SLACK, "{allocated}");
}

/// The fuzz targets, for a while, on noise and on requests with a few bytes changed.
fn noise_is_survived(time: Duration) {
    let start = Instant::now();
    let requests = requests(1);
    for seed in 0.. {
        let noise = pool(seed, 64);
        targets::frames(&noise);
        targets::requests(&noise);
        targets::responses(&noise);
        targets::metadata_records(&noise);
        targets::group_records(&noise);
        let (key, version, body) = &requests[seed as usize % requests.len()];
        let mut body = body.clone();
        for change in noise.chunks_exact(3).take(1 + usize::from(noise[0]) % 4) {
            let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % body.len().max(1);
            if let Some(byte) = body.get_mut(at) {
                *byte ^= change[2];
            }
        }
        let _ = decode_within_bounds(*key, *version, &body);
        let _ = targets::request_body(*key as u8, *version, &body);
        if start.elapsed() >= time {
            return;
        }
    }
}
