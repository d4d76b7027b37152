//! DescribeConfigs (32): settings of topics, brokers and groups, and where each value comes from.
//!
//! Versions: 1 source and synonyms (KIP-226) · 3 types and documentation (KIP-569) · 4 flexible.

use crate::kafka::error::ErrorCode;

/// What a resource is, in [`DescribeConfigsResource::resource_type`] and in metadata records.
pub mod resource_type {
    /// A topic, by name.
    pub const TOPIC: i8 = 2;
    /// A broker, by id; an empty name stands for all brokers.
    pub const BROKER: i8 = 4;
    /// A broker's loggers, by id.
    pub const BROKER_LOGGER: i8 = 8;
    /// A subscription to clients' metrics, by name (KIP-714).
    pub const CLIENT_METRICS: i8 = 16;
    /// A group, by id.
    pub const GROUP: i8 = 32;
}

/// Where a value comes from, in [`DescribeConfigsResourceResult::config_source`].
pub mod config_source {
    /// Set for the topic.
    pub const DYNAMIC_TOPIC: i8 = 1;
    /// Set for the broker while it runs.
    pub const DYNAMIC_BROKER: i8 = 2;
    /// Set for all brokers while they run.
    pub const DYNAMIC_DEFAULT_BROKER: i8 = 3;
    /// From the broker's configuration file.
    pub const STATIC_BROKER: i8 = 4;
    /// Nobody set it.
    pub const DEFAULT: i8 = 5;
    /// Set for the broker's logger while it runs.
    pub const DYNAMIC_BROKER_LOGGER: i8 = 6;
    /// Set for the subscription to clients' metrics.
    pub const CLIENT_METRICS: i8 = 7;
    /// Set for the group.
    pub const GROUP: i8 = 8;
}

/// What kind of value a setting has, in [`DescribeConfigsResourceResult::config_type`].
pub mod config_type {
    /// True or false.
    pub const BOOLEAN: i8 = 1;
    /// Text.
    pub const STRING: i8 = 2;
    /// 32-bit integer.
    pub const INT: i8 = 3;
    /// 16-bit integer.
    pub const SHORT: i8 = 4;
    /// 64-bit integer.
    pub const LONG: i8 = 5;
    /// Floating-point number.
    pub const DOUBLE: i8 = 6;
    /// Texts separated by commas.
    pub const LIST: i8 = 7;
    /// The name of a Java class.
    pub const CLASS: i8 = 8;
    /// Text that is never shown.
    pub const PASSWORD: i8 = 9;
}

message! {
    /// Resources to describe.
    pub struct DescribeConfigsRequest<'a>(versions 1..=4, flexible 4..) {
        /// Each resource.
        resources: Vec<DescribeConfigsResource<'a>>;
        /// Whether to tell every place a value could come from.
        include_synonyms: bool;
        /// Whether to explain each setting.
        include_documentation: bool, versions 3..;
    }

    /// A resource to describe.
    pub struct DescribeConfigsResource<'a> {
        /// One of [`resource_type`].
        resource_type: i8;
        /// Name or id.
        resource_name: &'a str;
        /// Settings to tell; `None` for all.
        configuration_keys: Option<Vec<&'a str>>;
    }

    /// The settings of each resource.
    pub struct DescribeConfigsResponse<'a>(versions 1..=4, flexible 4..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// By resource.
        results: Vec<DescribeConfigsResult<'a>>;
    }

    /// The settings of one resource.
    pub struct DescribeConfigsResult<'a> {
        /// Why it cannot be described, if it cannot.
        error_code: ErrorCode;
        /// The same in words.
        error_message: Option<&'a str>;
        /// One of [`resource_type`].
        resource_type: i8;
        /// Name or id.
        resource_name: &'a str;
        /// Each setting.
        configs: Vec<DescribeConfigsResourceResult<'a>>;
    }

    /// A setting.
    pub struct DescribeConfigsResourceResult<'a> {
        /// Name.
        name: &'a str;
        /// Value; `None` when hidden or not set.
        value: Option<&'a str>;
        /// It cannot be changed while the broker runs.
        read_only: bool;
        /// One of [`config_source`].
        config_source: i8 = -1;
        /// The value is hidden.
        is_sensitive: bool;
        /// Where else a value could come from, and the value there, first match first.
        synonyms: Vec<DescribeConfigsSynonym<'a>>;
        /// One of [`config_type`]; 0 when not known.
        config_type: i8, versions 3..;
        /// What the setting is for.
        documentation: Option<&'a str> = Some(""), versions 3..;
    }

    /// A place a setting's value can come from.
    pub struct DescribeConfigsSynonym<'a> {
        /// Name of the setting there.
        name: &'a str;
        /// Its value there.
        value: Option<&'a str>;
        /// One of [`config_source`].
        source: i8;
    }
}
