//! One process: accept, route, drive, reply.
