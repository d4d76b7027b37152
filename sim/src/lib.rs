//! Worlds made of one seed: the production broker on the simulated machine, faults, and the invariants that judge them.
