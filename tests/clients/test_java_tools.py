"""Kafka's own command-line tools for topics, settings, disks, records and features, with the options that people use."""

import itertools
import json
import re

import pytest

from harness import consumer_wire as cw
from harness import group_wire as gw
from harness import java, librdkafka, topics, wire
from harness.process import wait_until

CONFIGS = "kafka.admin.ConfigCommand"


def topic_tool(bootstrap: str, *args: str):
    return java.tool("TopicCommand", bootstrap, *args)


def configs(bootstrap: str, *args: str):
    return java.run(CONFIGS, "--bootstrap-server", bootstrap, *args)


def write(bootstrap: str, topic: str, count: int, partition: int = 0):
    records = [{"value": b"%d" % n, "partition": partition} for n in range(count)]
    librdkafka.produce_all(librdkafka.producer(bootstrap), topic, records).check(count)


def test_topics_grow_and_are_described_by_id(bootstrap):
    name = topics.unique_name("tools")
    made = topic_tool(
        bootstrap, "--create", "--topic", name, "--partitions", "2", "--replication-factor", "1", "--config", "retention.ms=60000"
    )
    assert f"Created topic {name}." in made.stdout, made.stderr
    again = topic_tool(bootstrap, "--create", "--topic", name)
    assert again.returncode == 1 and f"Topic '{name}' already exists." in again.stdout + again.stderr
    assert topic_tool(bootstrap, "--create", "--topic", name, "--if-not-exists").returncode == 0
    assert topic_tool(bootstrap, "--alter", "--topic", name, "--partitions", "5").returncode == 0
    fewer = topic_tool(bootstrap, "--alter", "--topic", name, "--partitions", "2")
    assert fewer.returncode == 1 and "currently has 5 partition" in fewer.stdout + fewer.stderr
    described = topic_tool(bootstrap, "--describe", "--topic", name).stdout
    assert "PartitionCount: 5" in described and "retention.ms=60000" in described
    assert len(re.findall(r"Leader: 1\s+Replicas: 1\s+Isr: 1", described)) == 5
    topic_id = re.search(r"TopicId: (\S+)", described)[1]
    assert f"Topic: {name}" in topic_tool(bootstrap, "--describe", "--topic-id", topic_id).stdout
    assert name in topic_tool(bootstrap, "--describe", "--topics-with-overrides").stdout
    for option in ("--unavailable-partitions", "--under-replicated-partitions", "--under-min-isr-partitions"):
        assert name not in topic_tool(bootstrap, "--describe", option).stdout, option
    assert topic_tool(bootstrap, "--delete", "--topic", name).returncode == 0
    assert topic_tool(bootstrap, "--delete", "--topic", name, "--if-exists").returncode == 0
    gone = topic_tool(bootstrap, "--describe", "--topic", name)
    assert gone.returncode == 1 and "does not exist as expected" in gone.stdout + gone.stderr


def test_settings_of_topics(bootstrap, topic):
    added = configs(
        bootstrap, "--alter", "--topic", topic, "--add-config", "retention.ms=3600000,cleanup.policy=[compact,delete]"
    )
    assert f"Completed updating config for topic {topic}." in added.stdout, added.stderr
    shown = configs(bootstrap, "--describe", "--topic", topic).stdout
    assert "retention.ms=3600000" in shown and "cleanup.policy=compact,delete" in shown
    assert "synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete, DEFAULT_CONFIG:log.cleanup.policy=delete}" in shown
    everything = configs(bootstrap, "--describe", "--topic", topic, "--all").stdout
    assert "segment.bytes=1073741824" in everything and "min.cleanable.dirty.ratio=0.5" in everything
    assert configs(bootstrap, "--alter", "--topic", topic, "--delete-config", "retention.ms").returncode == 0
    assert "retention.ms=3600000" not in configs(bootstrap, "--describe", "--topic", topic).stdout
    for wrong in ("no.such.setting=1", "retention.ms=soon"):
        refused = configs(bootstrap, "--alter", "--topic", topic, "--add-config", wrong)
        assert refused.returncode == 1 and "InvalidConfigurationException" in refused.stdout + refused.stderr, wrong


def test_settings_of_brokers(own_broker):
    bootstrap = own_broker().start().kafka
    assert configs(bootstrap, "--alter", "--broker-defaults", "--add-config", "log.cleaner.threads=2").returncode == 0
    assert configs(bootstrap, "--alter", "--broker", "1", "--add-config", "log.cleaner.threads=1").returncode == 0
    shown = configs(bootstrap, "--describe", "--broker", "1").stdout
    sources = "DYNAMIC_BROKER_CONFIG:log.cleaner.threads=1, DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.threads=2, DEFAULT_CONFIG:log.cleaner.threads=1"
    assert sources in shown, shown
    assert "log.cleaner.threads=2" in configs(bootstrap, "--describe", "--broker-defaults").stdout
    refused = configs(bootstrap, "--alter", "--broker", "1", "--add-config", "log.dirs=/elsewhere")
    assert refused.returncode == 1 and "InvalidRequestException" in refused.stdout + refused.stderr
    everything = configs(bootstrap, "--describe", "--broker", "1", "--all").stdout
    assert "log.cleaner.backoff.ms=15000" in everything and "node.id=1" in everything


def test_settings_of_groups(own_broker):
    """A group goes by what it was given from its next heartbeat on, also when the broker has started anew."""
    broker = own_broker()
    bootstrap = broker.start().kafka
    group = topics.unique_name("given")
    alter = lambda *args: configs(bootstrap, "--alter", "--group", group, *args)  # noqa: E731

    def interval() -> int:
        with wire.Connection(bootstrap) as connection:
            known = lambda: connection.ask(gw.find_coordinator(group), 4).coordinators[0].error_code == 0  # noqa: E731
            wait_until(known, 30, "a coordinator")
            tries = (cw.join(connection, group, topics=["nothing-is-there"]) for _ in itertools.count())
            joined = wait_until(lambda: next((it for it in [next(tries)] if it.error == cw.NONE), None), 30, "a member")
            return joined.interval_ms

    assert interval() == 5000
    added = alter("--add-config", "consumer.heartbeat.interval.ms=7000,consumer.session.timeout.ms=46000")
    assert f"Completed updating config for group {group}." in added.stdout, added.stderr
    assert interval() == 7000
    shown = configs(bootstrap, "--describe", "--group", group).stdout
    assert "consumer.heartbeat.interval.ms=7000" in shown and "DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=46000" in shown, shown
    everything = configs(bootstrap, "--describe", "--group", group, "--all").stdout
    assert "consumer.assignment.interval.ms=1000" in everything and "DEFAULT_CONFIG:group.consumer.heartbeat.interval.ms=5000" in everything
    assert group in configs(bootstrap, "--describe", "--entity-type", "groups").stdout
    for wrong, why in (
        ("consumer.heartbeat.interval.ms=4000", "must be greater than or equal to group.consumer.min.heartbeat.interval.ms"),
        ("consumer.session.timeout.ms=60001", "must be less than or equal to group.consumer.max.session.timeout.ms"),
        ("no.such.setting=1", "Unknown group config name: no.such.setting"),
    ):
        refused = alter("--add-config", wrong)
        assert refused.returncode == 1 and why in refused.stdout + refused.stderr, (wrong, refused.stdout, refused.stderr)
    broker.stop()
    bootstrap = broker.start().kafka
    assert interval() == 7000
    assert alter("--delete-config", "consumer.heartbeat.interval.ms").returncode == 0
    assert interval() == 5000


def test_log_dirs(bootstrap, new_topic):
    topic = new_topic(partitions=2)
    write(bootstrap, topic, 10)
    done = java.tool("LogDirsCommand", bootstrap, "--describe", "--topic-list", topic, "--broker-list", "1")
    (broker,) = json.loads(done.stdout.splitlines()[-1])["brokers"]
    (directory,) = broker["logDirs"]
    assert broker["broker"] == 1 and directory["error"] is None
    sizes = {p["partition"]: p["size"] for p in directory["partitions"]}
    assert sizes[f"{topic}-0"] > 100 and sizes[f"{topic}-1"] == 0
    assert all(p["offsetLag"] == 0 and not p["isFuture"] for p in directory["partitions"])


def test_delete_records(bootstrap, new_topic, tmp_path):
    topic = new_topic(partitions=2)
    for partition in range(2):
        write(bootstrap, topic, 5, partition)
    wanted = [{"topic": topic, "partition": 0, "offset": 2}, {"topic": topic, "partition": 1, "offset": -1}]
    file = tmp_path / "offsets.json"

    def delete(partitions: list) -> str:
        file.write_text(json.dumps({"partitions": partitions, "version": 1}))
        done = java.tool("DeleteRecordsCommand", bootstrap, "--offset-json-file", str(file))
        return done.stdout + done.stderr

    said = delete(wanted)
    assert f"partition: {topic}-0\tlow_watermark: 2" in said and f"partition: {topic}-1\tlow_watermark: 5" in said
    assert "OffsetOutOfRangeException" in delete([{"topic": topic, "partition": 0, "offset": 99}])
    compacted = new_topic(cleanup_policy="compact")
    assert "PolicyViolationException" in delete([{"topic": compacted, "partition": 0, "offset": 0}])
    offsets = java.tool("GetOffsetShell", bootstrap, "--topic", topic, "--time", "earliest").stdout
    assert offsets.splitlines() == [f"{topic}:0:2", f"{topic}:1:5"]


def test_offsets_of_many_kinds(bootstrap, new_topic):
    topic = new_topic(partitions=2)
    write(bootstrap, topic, 7)

    def offsets(time: str, *args: str) -> list[str]:
        return java.tool("GetOffsetShell", bootstrap, "--time", time, *args).stdout.split()

    only = ["--topic-partitions", f"{topic}:0"]
    assert offsets("latest", *only) == [f"{topic}:0:7"]
    assert offsets("-2", *only) == [f"{topic}:0:0"]
    assert offsets("max-timestamp", *only)[0].startswith(f"{topic}:0:")
    assert offsets("earliest-local", *only) == [f"{topic}:0:0"]
    assert offsets("4102444800000", *only) == [], "nothing is that young"
    assert offsets("latest", "--topic", f"{topic[:-1]}.") != []


def test_features_and_quorum(bootstrap):
    described = java.run(f"{java.TOOLS}.FeatureCommand", "--bootstrap-server", bootstrap, "describe")
    assert re.search(r"Feature: metadata.version.*FinalizedVersionLevel: 4\.3-IV0", described.stdout), described.stdout
    status = java.run(
        f"{java.TOOLS}.MetadataQuorumCommand", "--bootstrap-server", bootstrap, "describe", "--status"
    ).stdout
    assert re.search(r"LeaderId:\s+1", status) and re.search(r"MaxFollowerLag:\s+0", status), status
    replication = java.run(
        f"{java.TOOLS}.MetadataQuorumCommand", "--bootstrap-server", bootstrap, "describe", "--replication"
    ).stdout
    assert re.search(r"^1\s.*Leader", replication, re.M), replication


def test_verifiable_producer(bootstrap, topic):
    done = java.tool(
        "VerifiableProducer", bootstrap, "--topic", topic, "--max-messages", "500", "--acks", "-1", "--value-prefix", "1"
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    sent = [line for line in lines if line["name"] == "producer_send_success"]
    assert sorted(line["offset"] for line in sent) == list(range(500))
    (data,) = [line for line in lines if line["name"] == "tool_data"]
    assert data["sent"] == data["acked"] == 500
    read = librdkafka.read_to_end(bootstrap, topic, 1)
    assert {m.offset(): m.value().decode() for m in read} == {line["offset"]: line["value"] for line in sent}


@pytest.mark.millrace_only(reason="on Kafka it describes ACLs, which are not there yet")
def test_client_compatibility(own_broker):
    bootstrap = own_broker().start().kafka
    name = topics.create(bootstrap)
    yes = ["offsets-for-times", "cluster-id", "create-topics", "describe-configs", "idempotent-producer"]
    done = java.tool(
        "ClientCompatibilityTest",
        bootstrap,
        *("--topic", name, "--num-cluster-nodes", "1", "--expect-record-too-large-exception", "false"),
        *(word for what in yes for word in (f"--{what}-supported", "true")),
        *("--describe-acls-supported", "false"),
    )
    assert "SUCCESS." in done.stdout + done.stderr, (done.stdout + done.stderr)[-2000:]
