//! Every byte that crosses a wire or rests on disk: Kafka frames, messages, record batches, files, and the .proto files.
