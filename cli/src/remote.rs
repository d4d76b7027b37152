//! The broker that a command talks to.

use crate::exit::Failure;
use clap::Args;
use millrace_client::Client;

/// Where the broker is.
#[derive(Args, Debug)]
pub struct Remote {
    /// The broker's gRPC address
    #[arg(long, value_name = "ADDR", env = "MILLRACE_SERVER", default_value = "127.0.0.1:9095")]
    server: String,
}

impl Remote {
    /// Connects, or says how to start a broker.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let connected = Client::connect(&self.server).await;
        connected.map_err(|mut error| {
            if error.disconnected {
                error.message.push_str("; start one with `millrace dev`, or name another with --server");
            }
            error.into()
        })
    }
}
