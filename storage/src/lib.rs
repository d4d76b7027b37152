//! Batches by offset: appended in order, durable when it says so, readable as extents, recoverable after any crash.
