//! Compiles `api/**.proto` to Rust messages and to one descriptor set (for reflection, and for the stubs of the Rust
//! client), without a protoc binary.

use std::path::Path;
use std::{env, fs, io};

const FILES: [&str; 10] = [
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
    "grpc/health/v1/health.proto",
    "grpc/reflection/v1/reflection.proto",
    "millrace/v1/cluster.proto",
    "millrace/v1/groups.proto",
    "millrace/v1/log.proto",
    "millrace/v1/partitions.proto",
    "millrace/v1/record.proto",
    "millrace/v1/topics.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=api");
    println!("cargo:rerun-if-changed=build.rs");
    let mut compiler = protox::Compiler::new(["api"])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("api.binpb"), compiler.encode_file_descriptor_set())?;
    prost_build::Config::new()
        // Payloads are slices of the message they came in: no copy.
        .bytes(["."])
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
