//! Decoding a request. One operation: header and body of one frame; records stay where they are.

use crate::OPERATIONS;
use crate::input::{FETCH_VERSION, PRODUCE_VERSION, fetch, produce};
use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group};
use millrace_proto::kafka::api::decode_request;
use millrace_proto::kafka::header::RequestHeader;
use millrace_proto::kafka::messages::fetch::FetchRequest;
use millrace_proto::kafka::messages::produce::ProduceRequest;
use std::hint::black_box;

fn decode_produce_once(frame: &[u8]) {
    let (header, body) = RequestHeader::decode(frame).expect("a header");
    let request: ProduceRequest<'_> = decode_request(body, PRODUCE_VERSION).expect("a request");
    black_box((header, request));
}

fn decode_fetch_once(frame: &[u8]) {
    let (header, body) = RequestHeader::decode(frame).expect("a header");
    let request: FetchRequest<'_> = decode_request(body, FETCH_VERSION).expect("a request");
    black_box((header, request));
}

fn some_produce(records: usize, bytes: usize) -> Bytes {
    let frame = produce(records, bytes);
    decode_produce_once(&frame);
    frame
}

fn some_fetch(partitions: i32) -> Bytes {
    let frame = fetch(partitions);
    decode_fetch_once(&frame);
    frame
}

#[library_benchmark(setup = some_produce)]
#[bench::b_1x100(1, 100)]
#[bench::b_16x1k(16, 1024)]
#[bench::b_100x1k(100, 1024)]
fn decode_produce(frame: Bytes) -> Bytes {
    for _ in 0..OPERATIONS {
        decode_produce_once(black_box(&frame));
    }
    frame
}

#[library_benchmark(setup = some_fetch)]
#[bench::p_1(1)]
#[bench::p_100(100)]
fn decode_fetch(frame: Bytes) -> Bytes {
    for _ in 0..OPERATIONS {
        decode_fetch_once(black_box(&frame));
    }
    frame
}

library_benchmark_group!(name = decoding, benchmarks = [decode_produce, decode_fetch]);
