//! UpdateFeatures (57): finalises feature levels of the cluster (KIP-584).
//!
//! Versions: all flexible · 1 upgrade types, checking only · 2 no result for each feature.

use crate::kafka::error::ErrorCode;

/// What a change of level may be, in [`FeatureUpdateKey::upgrade_type`].
pub mod upgrade_type {
    /// To a higher level only.
    pub const UPGRADE: i8 = 1;
    /// To a lower level, if nothing is lost.
    pub const SAFE_DOWNGRADE: i8 = 2;
    /// To a lower level, whatever is lost.
    pub const UNSAFE_DOWNGRADE: i8 = 3;
}

message! {
    /// Features to update.
    pub struct UpdateFeaturesRequest<'a>(versions 0..=2, flexible 0..) {
        /// How long to wait.
        timeout_ms: i32 = 60_000;
        /// Each feature.
        feature_updates: Vec<FeatureUpdateKey<'a>>;
        /// Check everything, change nothing.
        validate_only: bool, versions 1..;
    }

    /// A feature to update.
    pub struct FeatureUpdateKey<'a> {
        /// Its name.
        feature: &'a str;
        /// Its level from now on; 0 turns it off.
        max_version_level: i16;
        /// It may get lower.
        allow_downgrade: bool, versions 0..=0;
        /// One of [`upgrade_type`].
        upgrade_type: i8 = 1, versions 1..;
    }

    /// The outcome.
    pub struct UpdateFeaturesResponse<'a>(versions 0..=2, flexible 0..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// Why nothing changed, if nothing did.
        error_code: ErrorCode;
        /// The same in words.
        error_message: Option<&'a str>;
        /// By feature.
        results: Vec<UpdatableFeatureResult<'a>>, versions 0..=1;
    }

    /// The outcome for one feature.
    pub struct UpdatableFeatureResult<'a> {
        /// Its name.
        feature: &'a str;
        /// Why it did not change, if it did not.
        error_code: ErrorCode;
        /// The same in words.
        error_message: Option<&'a str>;
    }
}
