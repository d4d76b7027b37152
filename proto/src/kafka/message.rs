//! `message!`: one declaration per message, for all its versions, and the codec that follows from it.
//!
//! ```text
//! message! {
//!     /// What the message is for.
//!     pub struct ExampleRequest<'a>(versions 1..=7, flexible 5..) {
//!         /// In every version; the type alone says how it is written.
//!         name: &'a str;
//!         /// Only in some versions; elsewhere it has its default when read and is left out when written.
//!         timeout_ms: i32 = 60_000, versions 3..;
//!         /// Null is understood from version 4; before that `None` is written as the empty value.
//!         topics: Option<Vec<ExampleTopic<'a>>>, nullable 4..;
//!         /// Tagged (KIP-482): written only when it differs from its default.
//!         epoch: i64 = -1, versions 5.., tag 0;
//!     }
//!
//!     /// A part of the message has no versions of its own: it goes by those of the whole.
//!     pub struct ExampleTopic<'a> { … }
//! }
//! ```
//!
//! Field order is the order on the wire, which is the order of Kafka's schema. Attributes come in the order shown.
//! A default that is not given is the type's own: 0, false, the nil id, empty, `None`.
//! Tagged fields are declared in ascending order of their tags.

use std::ops::RangeInclusive;

use thiserror::Error;

use super::wire::{Decode, DecodeError, Decoder, Encode, Malformed, Version};

/// A message is wanted in a version that is not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("version {version} is not spoken; {first} to {last} are")]
pub struct UnsupportedVersion {
    /// The version wanted.
    pub version: i16,
    /// The first that is spoken.
    pub first: i16,
    /// The last that is spoken.
    pub last: i16,
}

impl From<UnsupportedVersion> for DecodeError {
    fn from(error: UnsupportedVersion) -> Self {
        Self { at: 0, why: Malformed::UnknownVersion(error.version) }
    }
}

/// A whole message: request, response, or metadata record.
pub trait Message: Encode {
    /// The versions that are spoken.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields.
    const FLEXIBLE_FROM: i16;

    /// `number` as fields see it.
    fn version(number: i16) -> Result<Version, UnsupportedVersion> {
        let (first, last) = (*Self::VERSIONS.start(), *Self::VERSIONS.end());
        match (first..=last).contains(&number) {
            true => Ok(Version { number, flexible: number >= Self::FLEXIBLE_FROM }),
            false => Err(UnsupportedVersion { version: number, first, last }),
        }
    }
}

/// Reads a message that fills `body` entirely.
pub(super) fn decode_whole<'de, M: Message + Decode<'de>>(
    body: &'de [u8],
    version: i16,
) -> Result<M, DecodeError> {
    let v = M::version(version)?;
    let mut d = Decoder::new(body);
    let message = M::decode(&mut d, v)?;
    d.finish()?;
    Ok(message)
}

/// Whether the tags of a declaration ascend, for a check at compile time.
pub(super) const fn ascending(tags: &[u32]) -> bool {
    let mut i = 1;
    while i < tags.len() {
        if tags[i - 1] >= tags[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// See the module's documentation.
macro_rules! message {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident $(<$lt:lifetime>)? $((versions $versions:expr, flexible $flexible:expr))? {
            $(
                $(#[$fmeta:meta])*
                $field:ident : $ty:ty $(= $default:expr)?
                    $(, versions $in:expr)? $(, nullable $nullable:expr)? $(, tag $tag:literal)?;
            )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name $(<$lt>)? {
            $( $(#[$fmeta])* pub $field: $ty, )*
        }

        const _: () = assert!(
            $crate::kafka::message::ascending(&[$($($tag,)?)*]),
            concat!("tags ascend in ", stringify!($name))
        );

        impl $(<$lt>)? Default for $name $(<$lt>)? {
            /// Kafka's defaults, except that text which every version has and which may be null is `None`.
            fn default() -> Self {
                Self { $( $field: message!(@default $ty $(, $default)?), )* }
            }
        }

        impl $(<$lt>)? $crate::kafka::wire::Encode for $name $(<$lt>)? {
            #[allow(unused_variables)]
            fn encode(&self, e: &mut $crate::kafka::wire::Encoder, v: $crate::kafka::wire::Version) {
                $( message!(@encode self.$field, e, v; [$($in)?] [$($nullable)?] [$($tag)?]); )*
                if v.flexible {
                    let tags = e.tag_section();
                    $( message!(
                        @encode_tagged self.$field, e, v, tags, message!(@default $ty $(, $default)?);
                        [$($in)?] [$($tag)?]
                    ); )*
                }
            }
        }

        impl<'de $(: $lt, $lt)?> $crate::kafka::wire::Decode<'de> for $name $(<$lt>)? {
            fn min_size(v: $crate::kafka::wire::Version) -> usize {
                let size = usize::from(v.flexible) $( + message!(@min_size $ty, v; [$($in)?] [$($tag)?]) )*;
                size.max(1)
            }

            #[allow(unused_variables, clippy::field_reassign_with_default)]
            fn decode(
                d: &mut $crate::kafka::wire::Decoder<'de>,
                v: $crate::kafka::wire::Version,
            ) -> Result<Self, $crate::kafka::wire::DecodeError> {
                let mut message = Self::default();
                $( message!(@decode message.$field, d, v; [$($in)?] [$($nullable)?] [$($tag)?]); )*
                if v.flexible {
                    d.tagged_fields(|tag, d| {
                        $( message!(@decode_tagged message.$field, d, v, tag; [$($in)?] [$($tag)?]); )*
                        Ok(false)
                    })?;
                }
                Ok(message)
            }
        }

        #[cfg(feature = "arbitrary")]
        impl<'de $(: $lt, $lt)?> $crate::kafka::arbitrary::Sample<'de> for $name $(<$lt>)? {
            fn sample(
                u: &mut ::arbitrary::Unstructured<'de>,
            ) -> ::arbitrary::Result<Self> {
                Ok(Self { $( $field: $crate::kafka::arbitrary::Sample::sample(u)?, )* })
            }
        }

        message!(@versions [$name $(<$lt>)?] [$($versions, $flexible)?]);
    )*};

    (@versions $name:tt []) => {};
    (@versions [$name:ident $(<$lt:lifetime>)?] [$versions:expr, $flexible:expr]) => {
        impl $(<$lt>)? $crate::kafka::message::Message for $name $(<$lt>)? {
            const VERSIONS: ::std::ops::RangeInclusive<i16> = $versions;
            const FLEXIBLE_FROM: i16 = ($flexible).start;
        }
    };

    (@default $ty:ty) => { <$ty>::default() };
    (@default $ty:ty, $default:expr) => { $default };

    // Whether a field is in version `v`.
    (@in $v:ident; []) => { true };
    (@in $v:ident; [$in:expr]) => { ($in).contains(&$v.number) };

    (@encode $value:expr, $e:ident, $v:ident; [$($in:expr)?] [] []) => {
        if message!(@in $v; [$($in)?]) {
            $crate::kafka::wire::Encode::encode(&$value, $e, $v);
        }
    };
    (@encode $value:expr, $e:ident, $v:ident; [$($in:expr)?] [$nullable:expr] []) => {
        if message!(@in $v; [$($in)?]) {
            match ($nullable).contains(&$v.number) {
                true => $crate::kafka::wire::Encode::encode(&$value, $e, $v),
                false => $crate::kafka::wire::encode_required(&$value, $e, $v),
            }
        }
    };
    (@encode $value:expr, $e:ident, $v:ident; $in:tt $nullable:tt [$tag:literal]) => {};

    (@encode_tagged $value:expr, $e:ident, $v:ident, $tags:ident, $default:expr; $in:tt []) => {};
    (@encode_tagged $value:expr, $e:ident, $v:ident, $tags:ident, $default:expr; [$($in:expr)?] [$tag:literal]) => {
        if message!(@in $v; [$($in)?]) && $value != $default {
            $e.tagged_field(&$tags, $tag, |e| $crate::kafka::wire::Encode::encode(&$value, e, $v));
        }
    };

    (@min_size $ty:ty, $v:ident; [$($in:expr)?] []) => {
        if message!(@in $v; [$($in)?]) { <$ty as $crate::kafka::wire::Decode<'de>>::min_size($v) } else { 0 }
    };
    (@min_size $ty:ty, $v:ident; $in:tt [$tag:literal]) => { 0 };

    (@decode $place:expr, $d:ident, $v:ident; [$($in:expr)?] [] []) => {
        if message!(@in $v; [$($in)?]) {
            $place = $crate::kafka::wire::Decode::decode($d, $v)?;
        }
    };
    (@decode $place:expr, $d:ident, $v:ident; [$($in:expr)?] [$nullable:expr] []) => {
        if message!(@in $v; [$($in)?]) {
            $place = match ($nullable).contains(&$v.number) {
                true => $crate::kafka::wire::Decode::decode($d, $v)?,
                false => $crate::kafka::wire::decode_required($d, $v)?,
            };
        }
    };
    (@decode $place:expr, $d:ident, $v:ident; $in:tt $nullable:tt [$tag:literal]) => {};

    (@decode_tagged $place:expr, $d:ident, $v:ident, $current:ident; $in:tt []) => {};
    (@decode_tagged $place:expr, $d:ident, $v:ident, $current:ident; [$($in:expr)?] [$tag:literal]) => {
        if $current == $tag && message!(@in $v; [$($in)?]) {
            $place = $crate::kafka::wire::Decode::decode($d, $v)?;
            return Ok(true);
        }
    };
}
