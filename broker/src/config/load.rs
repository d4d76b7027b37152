//! From the text of a configuration file to a [`Config`]: every line must mean something, and what it means is said.

use super::properties::{self, Entry, SyntaxError};
use super::registry::{self, Draft, Lands, Setting};
use super::{Config, topic};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

/// Why a configuration can not be run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not a properties file.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// No setting has this name.
    #[error("line {line}: there is no setting {name}{hint}")]
    Unknown {
        /// The line, from 1.
        line: usize,
        /// The name.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// A setting may not have this value.
    #[error("line {line}: {name}={value}: {why}")]
    Value {
        /// The line, from 1.
        line: usize,
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What was expected, or is supported.
        why: String,
    },
    /// Settings that do not fit each other.
    #[error("{0}")]
    Contradiction(String),
    /// Clients would be told an address that they can not connect to.
    #[error(
        "{setting} is {address}, which clients cannot connect to: set {advertised} to a name or an address that they can reach"
    )]
    Unspecified {
        /// The setting with the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// The setting that helps.
        advertised: &'static str,
    },
}

/// Something to know about a configuration that can be run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The line that it is about, from 1, if there is one.
    pub line: Option<usize>,
    /// What to know.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Config {
    /// The configuration that a properties file asks for, and what to know about it.
    ///
    /// # Errors
    /// The first setting that is unknown, ill-typed or not supported, by name, value and line.
    pub fn from_properties(text: &str) -> Result<(Self, Vec<Warning>), ConfigError> {
        let mut warnings = Vec::new();
        let entries = unique(properties::parse(text)?, &mut warnings);
        if let Some((name, (line, _))) = entries.iter().find(|(name, _)| registry::find(name).is_none()) {
            return Err(ConfigError::Unknown { line: *line, name: name.clone(), hint: hint(name) });
        }
        let mut draft = Draft::default();
        for setting in registry::settings() {
            let Some((line, value)) = entries.get(setting.name) else { continue };
            apply(&mut draft, setting, value).map_err(|why| ConfigError::Value {
                line: *line,
                name: setting.name,
                value: value.clone(),
                why,
            })?;
            let said = draft.warnings.drain(..);
            warnings.extend(
                said.map(|why| Warning { line: Some(*line), message: format!("{}: {why}", setting.name) }),
            );
        }
        let config = draft.config;
        if let (Some(id), Some((line, value))) = (draft.broker_id, entries.get("node.id"))
            && id != config.node_id
        {
            let why = format!("broker.id is {id}, and both must be the same");
            return Err(ConfigError::Value { line: *line, name: "node.id", value: value.clone(), why });
        }
        warnings.extend(config.check()?);
        warnings.sort_by_key(|warning| warning.line.unwrap_or(usize::MAX));
        Ok((config, warnings))
    }

    /// What to know about running with this configuration.
    ///
    /// # Errors
    /// [`ConfigError::Unspecified`], [`ConfigError::Contradiction`].
    pub fn check(&self) -> Result<Vec<Warning>, ConfigError> {
        self.groups.check().map_err(ConfigError::Contradiction)?;
        let mut warnings = Vec::new();
        let ports = [
            ("listeners", self.kafka, Some(("advertised.listeners", self.advertised_kafka.is_some()))),
            (
                "grpc.listeners",
                self.grpc,
                Some(("advertised.grpc.listeners", self.advertised_grpc.is_some())),
            ),
            ("http.listeners", self.http, None),
        ];
        for (setting, address, advertised) in ports {
            match advertised {
                Some((advertised, false)) if address.ip().is_unspecified() => {
                    return Err(ConfigError::Unspecified { setting, address, advertised });
                }
                _ if address.ip().is_loopback() => {}
                Some(_) => warnings.push(format!(
                    "{setting} is {address}: whoever reaches it may read and write everything, as there is no authentication yet"
                )),
                None => warnings.push(format!("{setting} is {address}: whoever reaches it may read the metrics")),
            }
        }
        Ok(warnings.into_iter().map(|message| Warning { line: None, message }).collect())
    }
}

/// By name, with line and value. Of a name that repeats the last holds, as in Java.
fn unique(entries: Vec<Entry>, warnings: &mut Vec<Warning>) -> BTreeMap<String, (usize, String)> {
    let mut unique = BTreeMap::new();
    for Entry { line, name, value } in entries {
        if let Some((earlier, _)) = unique.insert(name.clone(), (line, value)) {
            let message = format!("{name} is set in line {earlier} too; this one holds");
            warnings.push(Warning { line: Some(line), message });
        }
    }
    unique
}

fn apply(draft: &mut Draft, setting: &'static Setting, value: &str) -> Result<(), String> {
    match setting.lands {
        Lands::Field(set, _) => set(draft, value)?,
        Lands::Topic { name, unit, .. } => draft.config.topics.set(name, &in_millis(value, unit, name)?)?,
        Lands::DefaultOnly(default) if value == default => {}
        Lands::DefaultOnly("") => return Err(format!("not supported yet. {}", setting.doc)),
        Lands::DefaultOnly(default) => {
            return Err(format!("not supported yet: only its default, {default}, is. {}", setting.doc));
        }
        Lands::Nowhere => draft.warnings.push(format!("has no meaning here. {}", setting.doc)),
    }
    draft.config.given.insert(setting.name, value.to_owned());
    Ok(())
}

/// What a value in a larger unit is in milliseconds; any negative time for keeping means for ever.
fn in_millis(value: &str, unit: i64, name: &str) -> Result<String, String> {
    let endless = |n: i64| name == "retention.ms" && n < 0;
    match value.parse::<i64>() {
        Ok(n) if endless(n) => Ok("-1".to_owned()),
        Ok(n) => n.checked_mul(unit).map(|ms| ms.to_string()).ok_or_else(|| "that is too long".to_owned()),
        Err(_) if unit == 1 => Ok(value.to_owned()),
        Err(_) => Err("expected a whole number".to_owned()),
    }
}

/// What may have been meant by a name that no setting has.
fn hint(name: &str) -> String {
    if let Some(setting) = topic::find(name) {
        let broker = registry::settings().iter().rev();
        let broker =
            broker.filter(|s| matches!(s.lands, Lands::Topic { name, unit: 1, .. } if name == setting.name));
        return match broker.map(|s| s.name).next() {
            Some(broker) => format!(": {name} is a setting of topics, and {broker} is the broker's"),
            None => format!(": {name} is a setting of topics alone"),
        };
    }
    if name.starts_with("listener.name.") {
        return ": settings of single listeners are not supported yet".to_owned();
    }
    let distance = |setting: &Setting| strsim::damerau_levenshtein(name, setting.name);
    let nearest = registry::settings().iter().map(|s| (distance(s), s.name)).min();
    match nearest {
        Some((distance, nearest)) if distance <= 1 + name.len() / 6 => format!(": is {nearest} meant?"),
        _ => String::new(),
    }
}

#[cfg(test)]
#[path = "load_test.rs"]
mod tests;
