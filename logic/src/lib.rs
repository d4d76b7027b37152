//! Every decision, as state machines: same inputs, same outputs.
