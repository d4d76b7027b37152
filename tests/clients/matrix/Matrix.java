// Kafka's own Java producer and consumer for the matrix of clients: see ../test_matrix.py for what goes in and out.
//
//   java Matrix.java produce BOOTSTRAP TOPIC CODEC     records on stdin, offsets on stdout
//   java Matrix.java consume BOOTSTRAP TOPIC COUNTS    records on stdout; COUNTS by partition, between commas

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Matrix {
    static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        if (args[0].equals("produce")) {
            produce(args[1], args[2], args[3]);
        } else {
            consume(args[1], args[2], args[3].split(","));
        }
    }

    static byte[] bytes(JsonNode node) throws Exception {
        return node.isNull() ? null : node.binaryValue();
    }

    static void produce(String bootstrap, String topic, String codec) throws Exception {
        Map<String, Object> settings =
            Map.of("bootstrap.servers", bootstrap, "compression.type", codec, "linger.ms", 20);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            var lines = new BufferedReader(new InputStreamReader(System.in));
            for (String line; (line = lines.readLine()) != null; ) {
                JsonNode in = JSON.readTree(line);
                var record = new ProducerRecord<>(
                    topic, in.get("partition").intValue(), in.get("timestamp").longValue(), bytes(in.get("key")), bytes(in.get("value")));
                for (JsonNode header : in.get("headers")) {
                    record.headers().add(header.get(0).textValue(), bytes(header.get(1)));
                }
                sent.add(producer.send(record));
            }
        }
        for (var one : sent) {
            System.out.println(one.get().offset());
        }
    }

    static void consume(String bootstrap, String topic, String[] counts) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "earliest");
        List<TopicPartition> partitions = new ArrayList<>();
        long left = 0;
        for (int partition = 0; partition < counts.length; partition++) {
            partitions.add(new TopicPartition(topic, partition));
            left += Long.parseLong(counts[partition]);
        }
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(partitions);
            while (left > 0) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    ObjectNode out = JSON.createObjectNode();
                    out.put("partition", record.partition()).put("offset", record.offset());
                    out.put("timestamp", record.timestamp()).put("key", record.key()).put("value", record.value());
                    ArrayNode headers = out.putArray("headers");
                    record.headers().forEach(header -> headers.addArray().add(header.key()).add(header.value()));
                    System.out.println(out);
                    left--;
                }
            }
        }
    }
}
