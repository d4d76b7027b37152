//! The value of a record in the metadata log.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_proto_fuzz::kafka;

fuzz_target!(|data: &[u8]| kafka::metadata_records(data));
