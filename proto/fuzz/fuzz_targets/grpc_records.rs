//! Records in gRPC requests, beside the generated messages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_proto_fuzz::grpc;

fuzz_target!(|data: &[u8]| grpc::records(data));
