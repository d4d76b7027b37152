// kafkajs, producing, for the matrix of clients: see ../test_matrix.py for what goes in and out. Of the codecs it has gzip by itself.
//
//   node kafkajs.mjs produce BOOTSTRAP TOPIC CODEC     records on stdin, offsets on stdout

import { createInterface } from "node:readline";
import { createRequire } from "node:module";

// Installed elsewhere: NODE_PATH counts for require alone.
const { Kafka, CompressionTypes, Partitioners, logLevel } = createRequire(import.meta.url)("kafkajs");

const [, bootstrap, topic, codec] = process.argv.slice(2);
const decode = (text) => (text === null ? null : Buffer.from(text, "base64"));
const messages = [];
for await (const line of createInterface({ input: process.stdin })) {
  const { partition, key, value, headers, timestamp } = JSON.parse(line);
  messages.push({
    partition,
    key: decode(key),
    value: decode(value),
    headers: Object.fromEntries(headers.map(([name, content]) => [name, decode(content)])),
    timestamp: String(timestamp),
  });
}
const producer = new Kafka({ clientId: "matrix", brokers: [bootstrap], logLevel: logLevel.ERROR }).producer({
  createPartitioner: Partitioners.DefaultPartitioner,
  idempotent: codec === "gzip",
});
await producer.connect();
const compression = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP }[codec];
const [{ baseOffset }] = await producer.send({ topic, messages, compression });
messages.forEach((_, at) => console.log(Number(baseOffset) + at));
await producer.disconnect();
