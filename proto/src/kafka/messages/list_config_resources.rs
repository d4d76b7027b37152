//! ListConfigResources (74): what has settings of its own (KIP-714, KIP-1142).
//!
//! Versions: all flexible; 0 lists subscriptions to clients' metrics only · 1 any kind.

use crate::kafka::error::ErrorCode;

message! {
    /// Which kinds of resource.
    pub struct ListConfigResourcesRequest(versions 0..=1, flexible 0..) {
        /// Each one of [`resource_type`](super::describe_configs::resource_type); empty for all.
        resource_types: Vec<i8>, versions 1..;
    }

    /// The resources.
    pub struct ListConfigResourcesResponse<'a>(versions 0..=1, flexible 0..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// Why there is no answer, if there is none.
        error_code: ErrorCode;
        /// Each resource.
        config_resources: Vec<ListedConfigResource<'a>>;
    }

    /// A resource.
    pub struct ListedConfigResource<'a> {
        /// Its name.
        resource_name: &'a str;
        /// One of [`resource_type`](super::describe_configs::resource_type).
        resource_type: i8 = 16, versions 1..;
    }
}
