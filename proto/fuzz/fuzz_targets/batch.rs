//! A batch from a stranger: checked, verified and read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_proto_fuzz::batch;

fuzz_target!(|data: &[u8]| batch::batches(data));
