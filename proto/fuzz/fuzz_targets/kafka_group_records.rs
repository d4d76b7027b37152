//! A record of `__consumer_offsets`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_proto_fuzz::kafka;

fuzz_target!(|data: &[u8]| kafka::group_records(data));
