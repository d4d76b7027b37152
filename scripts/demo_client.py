"""The gRPC side of scripts/demo: a plain Python client on stubs generated from proto/api."""

import sys

import grpc
from millrace.v1 import log_pb2, log_pb2_grpc, topics_pb2, topics_pb2_grpc

TIMEOUT = 20


def create(channel, topic: str):
    request = topics_pb2.CreateTopicRequest(name=topic, partition_count=1)
    made = topics_pb2_grpc.TopicsStub(channel).Create(request, timeout=TIMEOUT).topic
    print(f"Python creates            topic {made.name}, id {made.topic_id}")


def produce(channel, topic: str, *values: str):
    """Sends each value as a batch of its own, on one stream."""
    batches = (
        log_pb2.ProduceRequest(
            batches=[log_pb2.ProduceBatch(id=number, topic=topic, records=[log_pb2.Record(value=value.encode())])]
        )
        for number, value in enumerate(values)
    )
    for response in log_pb2_grpc.LogStub(channel).Produce(batches, timeout=TIMEOUT):
        for result in response.results:
            done = result.partitions[0]
            print(
                f"Python produces           partition {done.partition}, offset {done.base_offset}: {values[result.id]}"
            )


def consume(channel, topic: str, offset: str, count: str):
    """Reads so many records from an offset on, with a window of a megabyte."""
    start = log_pb2.ConsumeStart(
        credit_bytes=1 << 20, partitions=[log_pb2.PartitionStart(topic=topic, partition=0, offset=int(offset))]
    )
    left = int(count)
    stream = log_pb2_grpc.LogStub(channel).Consume(iter([log_pb2.ConsumeRequest(start=start)]), timeout=TIMEOUT)
    for response in stream:
        for found in response.records.sets:
            for record in found.records:
                print(
                    f"Python reads              partition {found.partition}, offset {record.offset}: "
                    f"{record.value.decode()}"
                )
                left -= 1
        if left <= 0:
            stream.cancel()
            return


if __name__ == "__main__":
    address, command, *arguments = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        {"create": create, "produce": produce, "consume": consume}[command](channel, *arguments)
