//! One type for each kind of offset: taking a high watermark for a log end is a compile error, not an off-by-one in production.
//!
//! Every kind is *exclusive*: it names the first offset that is not yet stable, committed, durable, written or assigned. Going from
//! one kind to another is always said aloud: [`Offset::new`] at the border, `Kind::at(offset)` to claim, `.offset()` to give up.

use std::fmt;

/// The position of one record in a partition. Kinds with a promise attached have types of their own below.
///
/// What a client sent may be negative; nothing that this crate hands out is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(i64);

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Offset = Offset(0);

    /// Takes a raw offset from the wire or from a file.
    pub const fn new(raw: i64) -> Self {
        Self(raw)
    }

    /// The raw number, for the wire or a file.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The offset `count` records later, or `None` past the largest offset there is.
    pub fn checked_add(self, count: i64) -> Option<Self> {
        self.0.checked_add(count).map(Self)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Declares a kind of offset: same number, its own promise.
macro_rules! kind {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Offset);

        impl $name {
            /// Claims that `offset` is of this kind.
            pub const fn at(offset: Offset) -> Self {
                Self(offset)
            }

            /// The plain offset, without the promise.
            pub const fn offset(self) -> Offset {
                self.0
            }

            /// The raw number, for the wire or a file.
            pub const fn get(self) -> i64 {
                self.0.get()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

kind! {
    /// The first offset that the log still holds; everything below was deleted.
    LogStart
}
kind! {
    /// The last stable offset: below it no transaction is undecided. What `read_committed` reads up to.
    Stable
}
kind! {
    /// Everything below it is committed: on every in-sync replica, and never taken back.
    HighWatermark
}
kind! {
    /// Everything below it survives a power cut of this replica: a sync submitted after its write has returned.
    Durable
}
kind! {
    /// Everything below it was handed to the file system by a write that completed.
    Written
}
kind! {
    /// The offset that the next record will get.
    LogEnd
}
