"""What the tests share: brokers to start and end, and clients to drive them with."""
