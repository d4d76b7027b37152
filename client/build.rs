//! Generates the client's gRPC stubs; the messages are those of `millrace_proto::grpc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../proto/api");
    println!("cargo:rerun-if-changed=build.rs");
    let files = ["cluster", "groups", "log", "topics"].map(|name| format!("millrace/v1/{name}.proto"));
    let mut compiler = protox::Compiler::new(["../proto/api"])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;
    tonic_prost_build::configure()
        // The client's tests bring their own server, which does what they say.
        .server_mod_attribute(".", "#[cfg(test)]")
        .extern_path(".millrace.v1", "::millrace_proto::grpc::v1")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
