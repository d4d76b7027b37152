//! Which settings may change while the broker runs, and to what: what the writer of the metadata asks before it records one.

use super::{Config, group, registry, topic};
use millrace_logic::meta::{ConfigRefusal, ConfigResource, Configs, Image, KnownConfigs, ResourceKind};

/// The settings of topics, brokers and groups, as they are now.
pub struct Alterable<'a> {
    /// The broker's own.
    pub config: &'a Config,
    /// What was changed before.
    pub image: &'a Image,
}

impl KnownConfigs for Alterable<'_> {
    fn check(&self, resource: &ConfigResource, name: &str, value: &str) -> Result<(), ConfigRefusal> {
        match resource.kind {
            ResourceKind::Topic => topic::check(name, value).map_err(ConfigRefusal::Invalid),
            ResourceKind::Group => group::check(name, value).map_err(ConfigRefusal::Invalid),
            _ => match registry::find(name) {
                None => Err(ConfigRefusal::Invalid(format!("Unknown broker config name: {name}"))),
                Some(setting) if !setting.is_dynamic() => Err(ConfigRefusal::ReadOnly(name.to_owned())),
                Some(setting) => setting.check_dynamic(value).map_err(ConfigRefusal::Invalid),
            },
        }
    }

    fn fit(&self, resource: &ConfigResource, all: &Configs) -> Result<(), ConfigRefusal> {
        match resource.kind {
            ResourceKind::Group => self.config.groups.check_own(all).map_err(ConfigRefusal::Invalid),
            _ => Ok(()),
        }
    }

    fn list(&self, resource: &ConfigResource, name: &str) -> Option<String> {
        let setting = match resource.kind {
            ResourceKind::Topic => topic::find(name),
            _ => topic::SETTINGS.iter().find(|setting| setting.broker_name() == Some(name)),
        };
        let list = setting.filter(|setting| setting.is_list())?;
        // What a list is added to is what holds where the thing itself has none.
        let topic = if resource.kind == ResourceKind::Topic { resource.name.as_str() } else { "" };
        Some(self.config.effective(self.image, topic).value(list).0.to_owned())
    }
}
