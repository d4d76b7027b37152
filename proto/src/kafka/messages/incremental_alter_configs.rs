//! IncrementalAlterConfigs (44): changes single settings of topics and brokers (KIP-339).
//!
//! Versions: 1 flexible. The response's parts are those of [`alter_configs`](super::alter_configs).

use super::alter_configs::AlterConfigsResourceResponse;

/// What to do with a setting, in [`IncrementalAlterableConfig::config_operation`].
pub mod config_operation {
    /// Give it this value.
    pub const SET: i8 = 0;
    /// Let its default hold again.
    pub const DELETE: i8 = 1;
    /// Add to a list.
    pub const APPEND: i8 = 2;
    /// Take from a list.
    pub const SUBTRACT: i8 = 3;
}

message! {
    /// Resources to change.
    pub struct IncrementalAlterConfigsRequest<'a>(versions 0..=1, flexible 1..) {
        /// Each resource.
        resources: Vec<IncrementalAlterConfigsResource<'a>>;
        /// Check everything, change nothing.
        validate_only: bool;
    }

    /// A resource to change.
    pub struct IncrementalAlterConfigsResource<'a> {
        /// One of [`resource_type`](super::describe_configs::resource_type).
        resource_type: i8;
        /// Name or id.
        resource_name: &'a str;
        /// What to change.
        configs: Vec<IncrementalAlterableConfig<'a>>;
    }

    /// A change of one setting.
    pub struct IncrementalAlterableConfig<'a> {
        /// Name.
        name: &'a str;
        /// One of [`config_operation`].
        config_operation: i8;
        /// Value.
        value: Option<&'a str>;
    }

    /// The outcome for each resource.
    pub struct IncrementalAlterConfigsResponse<'a>(versions 0..=1, flexible 1..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// By resource.
        responses: Vec<AlterConfigsResourceResponse<'a>>;
    }
}
