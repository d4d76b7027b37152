use super::*;

fn load(text: &str) -> (Config, Vec<String>) {
    let (config, warnings) = Config::from_properties(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    (config, warnings.iter().map(ToString::to_string).collect())
}

fn refused(text: &str) -> String {
    Config::from_properties(text).expect_err(text).to_string()
}

#[test]
fn nothing_is_the_default() {
    let (config, warnings) = load("");
    assert_eq!(config.kafka, Config::default().kafka);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(config.describe().iter().all(|setting| setting.is_default));
}

#[test]
fn settings_land() {
    let (config, warnings) = load(
        "node.id=7\nlisteners=PLAINTEXT://127.0.0.1:19092\nadvertised.listeners=PLAINTEXT://db:9092\nshards=3\n\
         log.dirs=/data\nnum.partitions=4\nmax.connections.per.ip=9\nconnections.max.idle.ms=1500\n\
         auto.create.topics.enable=FALSE\nproducer.id.expiration.ms=1000\n",
    );
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!((config.node_id, config.shards, config.num_partitions), (7, Some(3), 4));
    assert_eq!(config.kafka.port(), 19092);
    assert_eq!(config.advertised_kafka.as_ref().map(|at| at.host.as_str()), Some("db"));
    assert_eq!(config.data_dirs, [std::path::Path::new("/data")]);
    assert_eq!((config.limits.connections_per_ip, config.limits.patience.idle.as_millis()), (9, 1500));
    assert!(!config.auto_create_topics);
    let settings = config.topics.of(None).partition();
    assert_eq!(settings.producer_expiration.as_millis(), 1000);
}

#[test]
fn topics_go_by_the_brokers_settings_with_kafkas_precedence() {
    let (config, _) = load("log.segment.bytes=2000000\nlog.roll.ms=5000\nlog.roll.hours=2\n");
    let log = config.topics.of(None).log();
    assert_eq!((log.segment_bytes, log.segment_ms), (2_000_000, 5000));
    let (config, _) = load("log.roll.hours=2\nlog.write.caching=true\n");
    let log = config.topics.of(None).log();
    assert_eq!((log.segment_ms, log.write_caching), (7_200_000, true));
    assert!(refused("log.segment.bytes=100").contains("Value must be at least 1048576"));
    assert!(refused("log.roll.hours=9223372036854775807").contains("too long"));
    assert!(refused("log.roll.hours=soon").contains("log.roll.hours=soon: expected a whole number"));
}

#[test]
fn errors_name_the_setting_the_value_and_the_line() {
    assert_eq!(
        refused("# one\n\nnum.partitions=many\n"),
        "line 3: num.partitions=many: expected a whole number from 1 to 2147483647"
    );
    for (text, said) in [
        ("num.partitons=1", "line 1: there is no setting num.partitons: is num.partitions meant?"),
        ("no.such.setting=1", "line 1: there is no setting no.such.setting"),
        (
            "segment.ms=1",
            "line 1: there is no setting segment.ms: segment.ms is a setting of topics, and log.roll.ms is the broker's",
        ),
        (
            "listener.name.a.ssl.key=1",
            "line 1: there is no setting listener.name.a.ssl.key: settings of single listeners are not supported yet",
        ),
        ("delete.topic.enable=yes", "line 1: delete.topic.enable=yes: expected true or false"),
        ("default.replication.factor=3", "line 1: default.replication.factor=3: only 1 is supported yet"),
        ("log.dirs=/a, /b,/a", "line 1: log.dirs=/a, /b,/a: /a is named twice"),
        ("node.id=1\nbroker.id=2", "line 1: node.id=1: broker.id is 2, and both must be the same"),
        ("a=\\u1", "line 1: \\u1 is no escape: \\u is followed by four hexadecimal digits of a UTF-16 text"),
    ] {
        assert_eq!(refused(text), said);
    }
}

#[test]
fn what_is_not_supported_yet_is_refused_but_for_its_default() {
    let (_, warnings) = load("group.share.max.size=200\nssl.client.auth=none\n");
    assert!(warnings.is_empty(), "{warnings:?}");
    let said = refused("group.share.max.size=5");
    assert!(
        said.starts_with("line 1: group.share.max.size=5: not supported yet: only its default, 200, is."),
        "{said}"
    );
    assert!(refused("ssl.keystore.location=/k").contains("not supported yet"));
    assert!(refused("remote.log.reader.threads=3").contains("not supported yet"));
}

#[test]
fn groups_are_kept_as_the_file_says() {
    let (config, _) = load(
        "group.max.size=5\ngroup.min.session.timeout.ms=100\ngroup.initial.rebalance.delay.ms=0\n\
         offsets.retention.minutes=2\noffset.metadata.max.bytes=9\noffsets.topic.num.partitions=7\n",
    );
    let settings = config.groups.settings;
    assert_eq!((settings.max_size, settings.max_metadata, settings.retention_ms), (5, 9, 120_000));
    assert_eq!((settings.min_session.as_millis(), settings.initial_delay.as_millis()), (100, 0));
    let topic = config.groups.topic();
    assert_eq!((topic.name.as_str(), topic.num_partitions), ("__consumer_offsets", 7));
    assert!(topic.configs.contains(&("cleanup.policy".into(), Some("compact".into()))));
}

#[test]
fn consumer_groups_are_kept_as_the_file_says() {
    let (config, _) = load(
        "group.consumer.session.timeout.ms=2000\ngroup.consumer.min.session.timeout.ms=1000\n\
         group.consumer.heartbeat.interval.ms=500\ngroup.consumer.min.heartbeat.interval.ms=100\n\
         group.consumer.assignors=range\ngroup.consumer.max.size=9\ngroup.consumer.assignment.interval.ms=0\n\
         group.consumer.migration.policy=Upgrade\n",
    );
    let consumer = config.groups.settings.consumer;
    assert_eq!((consumer.session.as_millis(), consumer.heartbeat.as_millis()), (2000, 500));
    assert_eq!((consumer.max_size, consumer.assignment_interval.as_millis()), (9, 0));
    assert_eq!(consumer.assignors.map(|it| it.map(|it| it.name())), [Some("range"), None]);
    assert_eq!(consumer.migration.name(), "upgrade");
    let contradictions = [
        ("group.consumer.session.timeout.ms=44999", "session.timeout.ms must be greater than or equal to"),
        ("group.consumer.session.timeout.ms=60001", "session.timeout.ms must be less than or equal to"),
        (
            "group.consumer.max.session.timeout.ms=44999",
            "group.consumer.max.session.timeout.ms must be greater",
        ),
        (
            "group.consumer.heartbeat.interval.ms=4999",
            "heartbeat.interval.ms must be greater than or equal to",
        ),
        (
            "group.consumer.assignment.interval.ms=15001",
            "assignment.interval.ms must be less than or equal to",
        ),
        (
            "group.consumer.max.heartbeat.interval.ms=45000\ngroup.consumer.heartbeat.interval.ms=45000",
            "must be less than group.consumer.session.timeout.ms",
        ),
        ("group.consumer.assignors=sticky", "expected uniform, range or both"),
        ("group.consumer.assignors=range,range", "expected uniform, range or both"),
        ("group.consumer.migration.policy=up", "expected bidirectional, upgrade, downgrade or disabled"),
    ];
    for (text, why) in contradictions {
        let said = refused(text);
        assert!(said.contains(why), "{text}: {said}");
    }
}

#[test]
fn what_has_no_meaning_is_warned_about_with_the_reason() {
    let (_, warnings) = load("num.io.threads=8\n");
    assert_eq!(
        warnings,
        [
            "line 1: num.io.threads: has no meaning here. A shard per core does all the work of a core: see `shards`."
        ]
    );
    let (config, warnings) = load("num.partitions=2\nnum.partitions=3\n");
    assert_eq!(config.num_partitions, 3);
    assert_eq!(warnings, ["line 2: num.partitions is set in line 1 too; this one holds"]);
}

#[test]
fn clients_are_never_told_an_unspecified_address() {
    for (setting, value) in [("listeners", "PLAINTEXT://0.0.0.0:9092"), ("grpc.listeners", "[::]:9095")] {
        let said = refused(&format!("{setting}={value}"));
        assert!(said.starts_with(setting) && said.contains("set advertised."), "{said}");
    }
    let (_, warnings) = load("listeners=PLAINTEXT://:9092\nadvertised.listeners=PLAINTEXT://db:9092\n");
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("no authentication"), "{warnings:?}");
    assert!(load("http.listeners=0.0.0.0:9644").1[0].contains("metrics"));
}

#[test]
fn the_file_that_kafka_ships_starts_a_broker() {
    let (config, warnings) = load(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=localhost:9093\n\
         listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ninter.broker.listener.name=PLAINTEXT\n\
         advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n\
         num.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\n\
         socket.receive.buffer.bytes=102400\nsocket.request.max.bytes=104857600\nlog.dirs=/tmp/kraft\n\
         num.partitions=1\nnum.recovery.threads.per.data.dir=1\noffsets.topic.replication.factor=1\n\
         share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         log.retention.hours=168\nlog.segment.bytes=1073741824\nlog.retention.check.interval.ms=300000\n",
    );
    assert_eq!(config.kafka.to_string(), "0.0.0.0:9092");
    assert_eq!(config.advertised_kafka.map(|at| at.host).as_deref(), Some("localhost"));
    assert!(warnings.iter().any(|w| w.contains("CONTROLLER://:9093 is left out")), "{warnings:?}");
}

#[test]
fn describes_what_it_runs_with() {
    let (config, _) = load("num.partitions=4\nlog.roll.ms=5000\nnum.io.threads=8\n");
    let described = config.describe();
    let find = |name| {
        let setting = described.iter().find(|setting| setting.name == name).expect(name);
        (setting.value.as_deref(), setting.is_default)
    };
    assert_eq!(find("num.partitions"), (Some("4"), false));
    assert_eq!(find("log.roll.ms"), (Some("5000"), false));
    assert_eq!(find("log.roll.hours"), (Some("168"), true));
    assert_eq!(find("message.max.bytes"), (Some("1048588"), true));
    assert_eq!(find("group.max.size"), (Some("2147483647"), true));
    assert_eq!(find("num.io.threads"), (None, true));
    assert_eq!(find("shards"), (None, true));
    assert!(described.is_sorted_by(|a, b| a.name < b.name));
}
