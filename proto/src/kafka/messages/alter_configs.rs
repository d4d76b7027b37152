//! AlterConfigs (33): replaces all settings of topics and brokers. Its successor is
//! [`incremental_alter_configs`](super::incremental_alter_configs).
//!
//! Versions: 2 flexible.

use crate::kafka::error::ErrorCode;

message! {
    /// Resources to configure anew.
    pub struct AlterConfigsRequest<'a>(versions 0..=2, flexible 2..) {
        /// Each resource.
        resources: Vec<AlterConfigsResource<'a>>;
        /// Check everything, change nothing.
        validate_only: bool;
    }

    /// A resource to configure anew.
    pub struct AlterConfigsResource<'a> {
        /// One of [`resource_type`](super::describe_configs::resource_type).
        resource_type: i8;
        /// Name or id.
        resource_name: &'a str;
        /// Every setting that it is to have; the others fall back to their defaults.
        configs: Vec<AlterableConfig<'a>>;
    }

    /// A setting.
    pub struct AlterableConfig<'a> {
        /// Name.
        name: &'a str;
        /// Value.
        value: Option<&'a str>;
    }

    /// The outcome for each resource.
    pub struct AlterConfigsResponse<'a>(versions 0..=2, flexible 2..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// By resource.
        responses: Vec<AlterConfigsResourceResponse<'a>>;
    }

    /// The outcome for one resource.
    pub struct AlterConfigsResourceResponse<'a> {
        /// Why it did not change, if it did not.
        error_code: ErrorCode;
        /// The same in words.
        error_message: Option<&'a str>;
        /// One of [`resource_type`](super::describe_configs::resource_type).
        resource_type: i8;
        /// Name or id.
        resource_name: &'a str;
    }
}
