//! Who leads a partition now, and where to find them (KIP-951): what Produce and Fetch responses add to an error so
//! that the client needs no metadata request.

message! {
    /// The leader of one partition.
    pub struct LeaderIdAndEpoch {
        /// Broker id; -1 when not known.
        leader_id: i32 = -1;
        /// Leader epoch; -1 when not known.
        leader_epoch: i32 = -1;
    }

    /// How to reach a broker named as a leader.
    pub struct NodeEndpoint<'a> {
        /// Broker id.
        node_id: i32;
        /// Host name or address.
        host: &'a str;
        /// Port.
        port: i32;
        /// Rack, when the broker has one.
        rack: Option<&'a str>;
    }
}
