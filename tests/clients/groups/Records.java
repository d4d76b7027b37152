import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecordSerde;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;
import org.apache.kafka.coordinator.group.generated.CoordinatorRecordJsonConverters;

/**
 * Prints every record of __consumer_offsets as Kafka's own coordinator reads it: one line of JSON each.
 *
 * java Records.java BOOTSTRAP
 */
public class Records {
    public static void main(String[] args) {
        Map<String, Object> config = Map.of(
            "bootstrap.servers", args[0],
            "key.deserializer", ByteArrayDeserializer.class,
            "value.deserializer", ByteArrayDeserializer.class);
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(config)) {
            List<TopicPartition> partitions = consumer.partitionsFor("__consumer_offsets").stream()
                .map(info -> new TopicPartition(info.topic(), info.partition()))
                .collect(Collectors.toList());
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    show(record);
                }
            }
        }
    }

    private static void show(ConsumerRecord<byte[], byte[]> bytes) {
        CoordinatorRecordSerde serde = new GroupCoordinatorRecordSerde();
        ByteBuffer value = bytes.value() == null ? null : ByteBuffer.wrap(bytes.value());
        CoordinatorRecord record = serde.deserialize(ByteBuffer.wrap(bytes.key()), value);
        Object shown = record.value() == null ? null : CoordinatorRecordJsonConverters.writeRecordValueAsJson(
            record.value().message(), record.value().version());
        System.out.printf("{\"kind\":%d,\"key\":%s,\"value\":%s}%n", record.key().apiKey(),
            CoordinatorRecordJsonConverters.writeRecordKeyAsJson(record.key()), shown);
    }
}
