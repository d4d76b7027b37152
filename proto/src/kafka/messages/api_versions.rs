//! ApiVersions (18): what this broker speaks. The first request of most clients.
//!
//! Versions: 1 throttling · 3 flexible, with the client's name and features (KIP-511, KIP-584) · 4 features from level 0.
//! A version that is not known is answered in version 0 with UNSUPPORTED_VERSION, and the response's header is
//! always the oldest: clients ask before they know what is understood.

use crate::kafka::error::ErrorCode;

message! {
    /// The client introduces itself.
    pub struct ApiVersionsRequest<'a>(versions 0..=4, flexible 3..) {
        /// Name of the client library.
        client_software_name: &'a str, versions 3..;
        /// Its version.
        client_software_version: &'a str, versions 3..;
    }

    /// The APIs and features that are spoken.
    pub struct ApiVersionsResponse<'a>(versions 0..=4, flexible 3..) {
        /// UNSUPPORTED_VERSION, INVALID_REQUEST, or none.
        error_code: ErrorCode;
        /// Each API.
        api_keys: Vec<ApiVersion>;
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32, versions 1..;
        /// Features this broker could use.
        supported_features: Vec<SupportedFeatureKey<'a>>, versions 3.., tag 0;
        /// How often the finalized features have changed; -1 when not known.
        finalized_features_epoch: i64 = -1, versions 3.., tag 1;
        /// Features in use in the whole cluster.
        finalized_features: Vec<FinalizedFeatureKey<'a>>, versions 3.., tag 2;
        /// A migration from ZooKeeper may begin: never, here.
        zk_migration_ready: bool, versions 3.., tag 3;
    }

    /// An API and its versions.
    pub struct ApiVersion {
        /// API key.
        api_key: i16;
        /// First version.
        min_version: i16;
        /// Last version.
        max_version: i16;
    }

    /// A feature and its possible levels.
    pub struct SupportedFeatureKey<'a> {
        /// Name.
        name: &'a str;
        /// Least level.
        min_version: i16;
        /// Greatest level.
        max_version: i16;
    }

    /// A feature and its level in use.
    pub struct FinalizedFeatureKey<'a> {
        /// Name.
        name: &'a str;
        /// Greatest level in use.
        max_version_level: i16;
        /// Least level in use.
        min_version_level: i16;
    }
}
