"""grpcurl, a Go client that knows our services only by reflection."""

import json
import re
import subprocess

import pytest

from harness.paths import GRPCURL

pytestmark = pytest.mark.millrace_only(reason="Apache Kafka has no gRPC port")
NOT_FOUND = 64 + 5  # grpcurl's exit status is 64 and the gRPC code


@pytest.fixture
def grpcurl(broker):
    def run(*args: str, status: int = 0):
        *options, tail = args
        done = subprocess.run(
            [GRPCURL, "-plaintext", "-max-time", "20", *options, broker.grpc, *tail.split()],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == status, f"status {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    return run


def loads(text: str):
    """JSON with the field names of our .proto files, whichever of the two spellings the tool prefers."""

    def original_names(pairs):
        return {re.sub("(?<=[a-z])([A-Z])", r"_\1", name).lower(): value for name, value in pairs}

    return json.loads(text, object_pairs_hook=original_names)


def test_lists_services_and_methods(grpcurl):
    services = grpcurl("list").split()
    assert {"millrace.v1.Log", "millrace.v1.Topics", "millrace.v1.Cluster", "grpc.health.v1.Health"} <= set(
        services
    )
    assert any(s.startswith("grpc.reflection.") for s in services)
    assert set(grpcurl("list millrace.v1.Log").split()) == {
        "millrace.v1.Log.Consume",
        "millrace.v1.Log.InitProducer",
        "millrace.v1.Log.Produce",
        "millrace.v1.Log.Publish",
    }


def test_describes_messages(grpcurl):
    text = grpcurl("describe millrace.v1.Log.Consume")
    assert (
        "rpc Consume ( stream .millrace.v1.ConsumeRequest ) returns ( stream .millrace.v1.ConsumeResponse )"
        in text
    )
    assert "optional bytes key = 1;" in grpcurl("describe millrace.v1.Record")


def test_calls(grpcurl, topic):
    records = json.dumps({"topic": topic, "records": [{"key": "aw==", "value": "djE="}, {"value": "djI="}]})
    published = loads(grpcurl("-d", records, "millrace.v1.Log/Publish"))
    assert published["partitions"][0].get("base_offset", "0") == "0"
    described = loads(
        grpcurl("-d", json.dumps({"name": topic, "includeOffsets": True}), "millrace.v1.Topics/Describe")
    )
    assert described["topic"]["partitions"][0]["high_watermark"] == "2"
    assert loads(grpcurl("grpc.health.v1.Health/Check")) == {"status": "SERVING"}


def test_streams(grpcurl, topic):
    grpcurl("-d", json.dumps({"topic": topic, "records": [{"value": "djE="}]}), "millrace.v1.Log/Publish")
    start = {
        "start": {"partitions": [{"topic": topic, "partition": 0, "edge": "EDGE_BEGINNING"}], "creditBytes": "1"}
    }
    text = grpcurl("-d", json.dumps(start), "millrace.v1.Log/Consume")
    assert re.search(r'"next_?[oO]ffset": "1"', text) and '"djE="' in text


def test_errors_carry_details(grpcurl):
    text = grpcurl("-d", '{"name":"no-such-topic"}', "millrace.v1.Topics/Describe", status=NOT_FOUND)
    assert "Code: NotFound" in text and "no-such-topic" in text and "UNKNOWN_TOPIC_OR_PARTITION" in text
