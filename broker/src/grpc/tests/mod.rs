//! The port as clients meet it: an HTTP/2 client and the server in one simulated world, over a broker in memory.

mod calls;
mod client;
mod groups;
mod log;
mod members;
mod memory;
mod memory_groups;
mod memory_members;
mod topics;

use super::{Limits, Server};
use crate::net::budget::Budget;
use client::Client;
use memory::Memory;
use millrace_io::simulated::{Host, SimIo, World};
use millrace_io::{Io, Listener};
use std::future::Future;
use std::net::SocketAddr;

/// A world with a server and a client machine.
struct Setup {
    world: World,
    server: Host,
    client: Host,
    memory: Memory<SimIo>,
    inbound: Budget,
    limits: Limits,
}

impl Setup {
    fn new(seed: u64) -> Self {
        let world = World::new(seed);
        let (server, client) = (world.host(1), world.host(1));
        let memory = Memory::new(server.core(0));
        Self { server, client, memory, inbound: Budget::new(64 << 20), limits: Limits::default(), world }
    }

    /// Starts the server; gives the future of a connected client.
    fn start(&self) -> impl Future<Output = Client<SimIo>> + use<> {
        let (io, stop) = (self.server.core(0), self.server.core(0));
        let server = Server::new(self.memory.clone(), self.limits.clone(), self.inbound.clone());
        let address = SocketAddr::new(self.server.ip(), 9095);
        let serving = io.clone();
        io.spawn(async move {
            let mut listener = serving.listen(address).await.expect("a free port");
            loop {
                let (socket, peer) = listener.accept().await.expect("a connection");
                let (reader, writer) = serving.adopt(socket).expect("a socket");
                let (server, io, stop) = (server.clone(), serving.clone(), stop.clone());
                serving.spawn(async move {
                    // Tests look at what the client sees.
                    let _ = server.serve(&io, reader, writer, peer, stop.terminated()).await;
                });
            }
        });
        let io = self.client.core(0);
        async move {
            io.sleep(std::time::Duration::from_millis(1)).await;
            Client::connect(io, address).await
        }
    }

    /// Runs a test against the server.
    fn run<T, F: Future<Output = T>>(&self, test: impl FnOnce(Client<SimIo>) -> F) -> T {
        let client = self.start();
        self.world.run_until(async move { test(client.await).await })
    }
}
