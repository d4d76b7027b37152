// The same with kafkajs: see member.py.
//
//   node member.mjs BOOTSTRAP GROUP TOPIC

import { createRequire } from "node:module";

// Installed elsewhere: NODE_PATH counts for require alone.
const { Kafka, logLevel } = createRequire(import.meta.url)("kafkajs");

const [, bootstrap, groupId, topic] = process.argv.slice(1);
const kafka = new Kafka({ clientId: "member", brokers: [bootstrap], logLevel: logLevel.ERROR });
const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 1000 });
process.on("SIGTERM", async () => {
  await consumer.disconnect();
  process.exit(0);
});
await consumer.connect();
await consumer.subscribe({ topics: [topic], fromBeginning: true });
await consumer.run({
  autoCommit: false,
  eachBatch: async ({ batch, resolveOffset, commitOffsetsIfNecessary, heartbeat }) => {
    for (const message of batch.messages) {
      process.stdout.write(`${message.value}\n`);
      resolveOffset(message.offset);
    }
    const offset = String(Number(batch.lastOffset()) + 1);
    await consumer.commitOffsets([{ topic: batch.topic, partition: batch.partition, offset }]);
    await heartbeat();
  },
});
