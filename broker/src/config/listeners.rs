//! Where to listen, and what clients are told: `listeners`, `advertised.listeners` and their kin, as Kafka writes them
//! (`NAME://host:port,…`), and `host:port` for ours.

use super::HostPort;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What the names of listeners mean.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// `listener.security.protocol.map`: the protocol of each name.
    pub(super) protocols: BTreeMap<String, String>,
    /// `controller.listener.names`.
    pub(super) controllers: Vec<String>,
}

/// The protocols that Kafka has.
const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

impl Default for Names {
    /// Each protocol is a name of its own; no listener is the controller's.
    fn default() -> Self {
        let own = PROTOCOLS.map(|protocol| (protocol.to_owned(), protocol.to_owned()));
        Self { protocols: BTreeMap::from(own), controllers: Vec::new() }
    }
}

/// `NAME:PROTOCOL,…`.
pub(super) fn parse_protocols(text: &str) -> Result<BTreeMap<String, String>, String> {
    let pair = |entry: &str| {
        let (name, protocol) = entry.trim().split_once(':')?;
        PROTOCOLS.contains(&protocol).then(|| (name.to_owned(), protocol.to_owned()))
    };
    let expected = || format!("expected NAME:PROTOCOL,… with protocols out of {}", PROTOCOLS.join(", "));
    text.split(',').map(pair).collect::<Option<_>>().ok_or_else(expected)
}

/// What stands in front of `://` and behind it; `None` if the entry is the controller's.
fn entry<'a>(text: &'a str, names: &Names) -> Result<Option<&'a str>, String> {
    let (name, address) = text.split_once("://").ok_or("expected PLAINTEXT://host:port")?;
    if names.controllers.iter().any(|controller| controller == name) {
        return Ok(None);
    }
    match names.protocols.get(name).map(String::as_str) {
        Some("PLAINTEXT") => Ok(Some(address)),
        Some(protocol) => Err(format!("{protocol} is not supported yet: only PLAINTEXT is")),
        None => Err(format!("the listener {name} is not in listener.security.protocol.map")),
    }
}

/// The one entry that is for clients. `skipped` is called for each that is the controller's.
fn one<'a>(text: &'a str, names: &Names, mut skipped: impl FnMut(&str)) -> Result<&'a str, String> {
    let mut found = None;
    for listener in text.split(',').map(str::trim) {
        match (entry(listener, names)?, found) {
            (None, _) => skipped(listener),
            (Some(address), None) => found = Some(address),
            (Some(_), Some(_)) => {
                return Err("more than one listener for clients is not supported yet".into());
            }
        }
    }
    found.ok_or_else(|| "expected PLAINTEXT://host:port for clients".into())
}

/// The value of `listeners`.
pub(super) fn parse_listener(
    text: &str,
    names: &Names,
    skipped: impl FnMut(&str),
) -> Result<SocketAddr, String> {
    parse_address(one(text, names, skipped)?)
}

/// The value of `advertised.listeners`.
pub(super) fn parse_advertised(text: &str, names: &Names) -> Result<HostPort, String> {
    parse_host_port(one(text, names, |_| {})?)
}

/// An address to listen on: `ip:port`, `[ipv6]:port`, `localhost:port`, or `:port` for every interface.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let expected = || format!("expected an IP address and a port, for example 127.0.0.1:9092, not {text}");
    let (host, port) = split(text).ok_or_else(expected)?;
    let ip = match host {
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.parse().map_err(|_| expected())?,
    };
    Ok(SocketAddr::new(ip, port))
}

/// What clients are told: `host:port` with a name or an address that they can reach.
pub(super) fn parse_host_port(text: &str) -> Result<HostPort, String> {
    let expected = || format!("expected a host and a port, for example broker.example.com:9092, not {text}");
    let (host, port) =
        split(text).filter(|(host, port)| !host.is_empty() && *port != 0).ok_or_else(expected)?;
    let printable = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ',' | '[' | ']');
    if !host.chars().all(printable) {
        return Err(expected());
    }
    if host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified()) {
        return Err(format!(
            "clients cannot connect to {host}: name an address or a host that they can reach"
        ));
    }
    Ok(HostPort { host: host.to_owned(), port })
}

/// Host, without the brackets of an IPv6 address, and port.
fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return None;
    }
    Some((bare.unwrap_or(host), port.parse().ok()?))
}

/// As it is written in `host:port`.
pub(super) fn format_host_port(HostPort { host, port }: &HostPort) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(text: &str) -> Result<String, String> {
        let names = Names {
            protocols: parse_protocols("CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,TLS:SSL,INSIDE:PLAINTEXT")?,
            controllers: vec!["CONTROLLER".into()],
        };
        parse_listener(text, &names, |_| {}).map(|address| address.to_string())
    }

    #[test]
    fn kafkas_listeners() {
        assert_eq!(listener("PLAINTEXT://127.0.0.1:9092").as_deref(), Ok("127.0.0.1:9092"));
        assert_eq!(listener("INSIDE://[::1]:9092").as_deref(), Ok("[::1]:9092"));
        assert_eq!(listener("PLAINTEXT://localhost:1, CONTROLLER://:2").as_deref(), Ok("127.0.0.1:1"));
        assert_eq!(listener("PLAINTEXT://:9092").as_deref(), Ok("0.0.0.0:9092"));
        for (bad, why) in [
            ("TLS://127.0.0.1:1", "SSL is not supported yet"),
            ("OTHER://127.0.0.1:1", "not in listener.security.protocol.map"),
            ("PLAINTEXT://nowhere", "an IP address and a port"),
            ("PLAINTEXT://nowhere:9092", "an IP address and a port"),
            ("PLAINTEXT://127.0.0.1:99999", "an IP address and a port"),
            ("127.0.0.1:9092", "PLAINTEXT://host:port"),
            ("CONTROLLER://:9093", "for clients"),
            ("PLAINTEXT://127.0.0.1:1,INSIDE://127.0.0.1:2", "more than one"),
        ] {
            let error = listener(bad).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
        assert!(parse_protocols("PLAINTEXT:HTTP").is_err());
    }

    #[test]
    fn clients_are_never_told_an_unspecified_address() {
        let host = |text| parse_host_port(text).map(|at| format_host_port(&at));
        assert_eq!(host("broker-1.example.com:9092").as_deref(), Ok("broker-1.example.com:9092"));
        assert_eq!(host("[fe80::1]:9092").as_deref(), Ok("[fe80::1]:9092"));
        for bad in ["0.0.0.0:9092", "[::]:9092", ":9092", "host:0", "host", "::1:9092", "a b:1"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
