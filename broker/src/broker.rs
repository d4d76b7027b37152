//! A broker from start to stop: shard 0 opens the data directory and the metadata, binds the ports, tells the other
//! shards what to own, lets clients in; at the end everything in flight is answered and every log is closed.

use crate::config::{Config, HostPort, SUPPORTED_FEATURES};
use crate::net::listener;
use crate::shard::metadata::{MetadataDriver, MetadataStartError, Published};
use crate::shard::{Closed, Entrance, MAILBOX, Shard, ShardCall};
use futures_channel::oneshot;
use futures_util::future::join_all;
use millrace_io::mailbox::{Receiver, Sender, mailbox};
use millrace_io::{Io, Listener};
use millrace_logic::meta::{BrokerFeature, Endpoint, RegisterBrokerRecord};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// How long clients may take to finish what is in flight when the broker stops.
const DRAIN: Duration = Duration::from_secs(10);

/// What a broker tells whoever started it.
#[derive(Clone, Debug)]
pub enum Event {
    /// Clients are served at these addresses.
    Serving(Addresses),
    /// It can not start, and why.
    Failed(String),
    /// It has stopped; whether everything was closed cleanly.
    Stopped {
        /// Whether the next start needs no recovery.
        clean: bool,
    },
}

/// Where a broker listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Kafka's protocol.
    pub kafka: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
    /// Metrics and health.
    pub http: SocketAddr,
}

/// What the shards of one broker need to find each other. Made once, before the cores start.
pub struct Setup<I: Io> {
    config: Arc<Config>,
    peers: Vec<Sender<ShardCall<I>>>,
    seats: Vec<Mutex<Option<Seat<I>>>>,
    /// Shard 0's ends of the other shards' lives.
    followers: Mutex<Vec<Follower>>,
    on_event: Box<dyn Fn(Event) + Send + Sync>,
}

/// What one shard takes with it to its core.
struct Seat<I: Io> {
    mailbox: Receiver<ShardCall<I>>,
    life: Option<Life>,
}

/// A shard's ends of its life, as shard 0 leads it.
struct Life {
    start: oneshot::Receiver<Arc<Published>>,
    ready: oneshot::Sender<()>,
    drained: oneshot::Sender<()>,
    close: oneshot::Receiver<()>,
    closed: oneshot::Sender<Closed>,
}

/// The other ends.
struct Follower {
    start: oneshot::Sender<Arc<Published>>,
    ready: oneshot::Receiver<()>,
    drained: oneshot::Receiver<()>,
    close: oneshot::Sender<()>,
    closed: oneshot::Receiver<Closed>,
}

/// How long a port may still belong to a broker that was killed a moment ago: the kernel closes what its rings held after
/// the process is gone.
const LINGERS: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why a broker can not start.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Metadata(#[from] MetadataStartError),
    #[error("{address} ({setting}) cannot be listened on: {source}{}", hint(.source))]
    Listen { setting: &'static str, address: SocketAddr, source: std::io::Error },
    #[error(
        "clients cannot connect to {address}: with {setting} on an unspecified address, set {advertised} to a name or an address that they can reach"
    )]
    Unspecified { setting: &'static str, advertised: &'static str, address: SocketAddr },
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another broker may be running there: stop it or choose another port"
        }
        std::io::ErrorKind::PermissionDenied => "; choose a port above 1023 or grant CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

fn life() -> (Life, Follower) {
    let (start, started) = oneshot::channel();
    let (ready, is_ready) = oneshot::channel();
    let (drained, is_drained) = oneshot::channel();
    let (close, closing) = oneshot::channel();
    let (closed, is_closed) = oneshot::channel();
    let life = Life { start: started, ready, drained, close: closing, closed };
    (life, Follower { start, ready: is_ready, drained: is_drained, close, closed: is_closed })
}

impl<I: Io> Setup<I> {
    /// A broker of `shards` shards. `on_event` is called on shard 0's core.
    pub fn new(config: Config, shards: usize, on_event: impl Fn(Event) + Send + Sync + 'static) -> Arc<Self> {
        let (mut peers, mut seats, mut followers) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..shards {
            let (sender, receiver) = mailbox(MAILBOX);
            peers.push(sender);
            let life = (index > 0).then(|| {
                let (life, follower) = life();
                followers.push(follower);
                life
            });
            seats.push(Mutex::new(Some(Seat { mailbox: receiver, life })));
        }
        let (config, followers, on_event) = (Arc::new(config), Mutex::new(followers), Box::new(on_event));
        Arc::new(Self { config, peers, seats, followers, on_event })
    }

    /// Runs shard `index` on the core of `io`, until the broker has stopped.
    ///
    /// # Panics
    /// When a shard is run twice.
    pub async fn run(self: Arc<Self>, io: I, index: usize) {
        let seat = self.seats[index].lock().unwrap_or_else(|e| e.into_inner()).take();
        let seat = seat.expect("each shard runs once");
        match seat.life {
            Some(life) => self.follow(io, index, seat.mailbox, life).await,
            None => {
                if let Err(failure) = self.lead(io, seat.mailbox).await {
                    // The other shards wait for a start that will not come.
                    self.take_followers();
                    (self.on_event)(Event::Failed(failure.to_string()));
                }
            }
        }
    }

    fn take_followers(&self) -> Vec<Follower> {
        std::mem::take(&mut *self.followers.lock().unwrap_or_else(|e| e.into_inner()))
    }

    fn shard(&self, io: I, index: usize, mailbox: Receiver<ShardCall<I>>, published: &Published) -> Shard<I> {
        let shard = Shard::new(io.clone(), index, self.config.clone(), self.peers.clone(), published);
        io.spawn(shard.clone().answer_calls(mailbox));
        io.spawn(shard.clone().keep_house());
        io.spawn(shard.clone().keep_time());
        io.spawn(shard.clone().keep_groups());
        io.spawn(shard.clone().keep_retention());
        io.spawn(shard.clone().keep_compact());
        shard
    }

    async fn follow(&self, io: I, index: usize, mailbox: Receiver<ShardCall<I>>, life: Life) {
        // Shard 0 could not start: it has said why.
        let Ok(published) = life.start.await else { return };
        let shard = self.shard(io.clone(), index, mailbox, &published);
        shard.prepare(&published).await;
        let _ = life.ready.send(());
        io.terminated().await;
        shard.drain(DRAIN).await;
        let _ = life.drained.send(());
        // Others may still need this shard's partitions to answer what is in flight.
        let _ = life.close.await;
        let _ = life.closed.send(shard.close().await);
    }

    async fn lead(&self, io: I, mailbox: Receiver<ShardCall<I>>) -> Result<(), Failure> {
        let (driver, mut published) = MetadataDriver::start(io.clone(), self.config.clone()).await?;
        let ports = Ports::bind(&io, &self.config).await?;
        published.image =
            driver.register(registration(&io, &self.config, &driver, &ports.addresses)?).await?;
        let published = Arc::new(published);
        let starts: Vec<_> = self
            .take_followers()
            .into_iter()
            .map(|follower| {
                let _ = follower.start.send(published.clone());
                (follower.ready, follower.drained, follower.close, follower.closed)
            })
            .collect();
        let shard = self.shard(io.clone(), 0, mailbox, &published);
        shard.decide_metadata(driver);
        shard.prepare(&published).await;
        let (mut drained, mut close, mut closed) = (Vec::new(), Vec::new(), Vec::new());
        for (is_ready, is_drained, closing, is_closed) in starts {
            let _ = is_ready.await;
            drained.push(is_drained);
            close.push(closing);
            closed.push(is_closed);
        }
        if let Some(driver) = shard.metadata_driver() {
            driver.forget_journals(&published).await;
        }
        let addresses = ports.addresses;
        ports.open(&io, &shard);
        (self.on_event)(Event::Serving(addresses));
        io.terminated().await;
        tracing::info!("stopping: finishing what is in flight");
        shard.drain(DRAIN).await;
        join_all(drained).await;
        for closing in close {
            let _ = closing.send(());
        }
        let mut logs = shard.close().await;
        join_all(closed).await.into_iter().for_each(|closed| logs.add(closed.ok()));
        let driver = shard.metadata_driver().expect("set above");
        let clean = logs.is_clean();
        let closed = driver.stop(logs).await;
        if let Err(error) = &closed {
            tracing::error!(%error, "a log directory was not closed");
        }
        (self.on_event)(Event::Stopped { clean: clean && closed.is_ok() });
        Ok(())
    }
}

/// The bound ports, not yet open to anybody.
struct Ports<I: Io> {
    listeners: [(Entrance, I::Listener); 3],
    addresses: Addresses,
}

impl<I: Io> Ports<I> {
    async fn bind(io: &I, config: &Config) -> Result<Self, Failure> {
        let until = io.now() + LINGERS;
        let listen = async |setting, address| {
            loop {
                match io.listen(address).await {
                    Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && io.now() < until => {
                        io.sleep(LOOK_AGAIN).await;
                    }
                    result => return result.map_err(|source| Failure::Listen { setting, address, source }),
                }
            }
        };
        let kafka = listen("listeners", config.kafka).await?;
        let grpc = listen("grpc.listeners", config.grpc).await?;
        let http = listen("http.listeners", config.http).await?;
        let addresses =
            Addresses { kafka: kafka.local_addr(), grpc: grpc.local_addr(), http: http.local_addr() };
        let listeners = [(Entrance::Kafka, kafka), (Entrance::Grpc, grpc), (Entrance::Http, http)];
        Ok(Self { listeners, addresses })
    }

    fn open(self, io: &I, shard: &Shard<I>) {
        for (entrance, listener) in self.listeners {
            io.spawn(listener::accept(shard.clone(), listener, entrance));
        }
    }
}

/// What the cluster is told of this broker.
fn registration<I: Io>(
    io: &I,
    config: &Config,
    driver: &MetadataDriver<I>,
    addresses: &Addresses,
) -> Result<RegisterBrokerRecord, Failure> {
    let random = |io: &I| (u128::from(io.random()) << 64) | u128::from(io.random());
    let endpoint = |name: &str, address, advertised: &Option<HostPort>, setting, setting_advertised| {
        let HostPort { host, port } = match advertised {
            Some(advertised) => advertised.clone(),
            None => HostPort::of(address).ok_or(Failure::Unspecified {
                setting,
                advertised: setting_advertised,
                address,
            })?,
        };
        Ok::<_, Failure>(Endpoint { name: name.to_owned(), host, port, security_protocol: 0 })
    };
    let endpoints = vec![
        endpoint(
            KAFKA_ENDPOINT,
            addresses.kafka,
            &config.advertised_kafka,
            "listeners",
            "advertised.listeners",
        )?,
        endpoint(
            GRPC_ENDPOINT,
            addresses.grpc,
            &config.advertised_grpc,
            "grpc.listeners",
            "advertised.grpc.listeners",
        )?,
    ];
    Ok(RegisterBrokerRecord {
        broker: config.node_id,
        incarnation: Uuid::from_u128(random(io)),
        epoch: -1,
        endpoints,
        features: SUPPORTED_FEATURES
            .iter()
            .map(|&(name, min, max)| BrokerFeature { name: name.to_owned(), min, max })
            .collect(),
        rack: config.rack.clone(),
        fenced: false,
        in_controlled_shutdown: false,
        log_dirs: driver.directories().in_use.iter().map(|directory| directory.id).collect(),
    })
}

/// The listener for Kafka clients, by the name that Kafka gives it.
pub const KAFKA_ENDPOINT: &str = "PLAINTEXT";
/// The listener for gRPC clients.
pub const GRPC_ENDPOINT: &str = "GRPC";
