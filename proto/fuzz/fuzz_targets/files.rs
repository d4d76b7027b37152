//! The files of a data directory, of every format.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_proto_fuzz::files;

fuzz_target!(|data: &[u8]| files::files(data));
