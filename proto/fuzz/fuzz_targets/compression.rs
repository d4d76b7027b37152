//! What every codec is given to decompress.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_proto_fuzz::batch;

fuzz_target!(|data: &[u8]| batch::compressed(data));
