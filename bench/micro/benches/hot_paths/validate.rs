//! Checking a batch. One operation: all that `validate` does with one batch that passes, its CRC-32C and the walk over its records included.

use crate::OPERATIONS;
use crate::input::batch;
use bytes::BytesMut;
use gungraun::{library_benchmark, library_benchmark_group};
use millrace_proto::batch::{Limits, validate};
use std::hint::black_box;

fn some_batch(records: usize, bytes: usize) -> (BytesMut, Limits) {
    // As for any topic: timestamps are looked at.
    let limits = Limits { timestamps: Some((0, i64::MAX)), ..Limits::default() };
    let batch = batch(records, bytes);
    validate(&batch, &limits).expect("a good batch");
    (batch, limits)
}

#[library_benchmark(setup = some_batch)]
#[bench::b_1x100(1, 100)]
#[bench::b_16x1k(16, 1024)]
#[bench::b_100x1k(100, 1024)]
fn validate_batch((batch, limits): (BytesMut, Limits)) -> BytesMut {
    for _ in 0..OPERATIONS {
        black_box(validate(black_box(&batch), black_box(&limits)).expect("a good batch"));
    }
    batch
}

library_benchmark_group!(name = validation, benchmarks = [validate_batch]);
