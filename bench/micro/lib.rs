//! Nothing: what this room has is in `benches/`, where a dependency on the tool that counts does no harm to anybody else's build.
