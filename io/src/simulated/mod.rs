//! Virtual time and disks that tear, from a seed.
