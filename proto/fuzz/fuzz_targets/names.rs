//! Names of files and directories, and ids in text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_proto_fuzz::files;

fuzz_target!(|data: &[u8]| files::names(data));
