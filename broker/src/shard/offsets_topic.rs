//! The topic that holds what coordinators of groups decide: made when it is first needed.

use crate::api::errors::WireError;
use crate::shard::Shard;
use millrace_io::Io;
use millrace_logic::meta::names::CONSUMER_OFFSETS_TOPIC;
use millrace_proto::kafka::error::ErrorCode;

impl<I: Io> Shard<I> {
    /// Makes the topic, if it is not there. Why it is not there yet, also for people.
    pub(crate) async fn offsets_topic(&self) -> Result<(), (ErrorCode, String)> {
        if self.image().topic(CONSUMER_OFFSETS_TOPIC).is_some() {
            return Ok(());
        }
        let wish = self.config().groups.topic();
        let unavailable = |why: String| (ErrorCode::CoordinatorNotAvailable, why);
        let created = self.create_topics(vec![wish], false).await;
        for topic in created.map_err(|failure| unavailable(failure.to_string()))? {
            match topic.outcome {
                Ok(_) => {}
                // Somebody else was faster.
                Err(error) if error.code() == ErrorCode::TopicAlreadyExists => {}
                Err(error) => return Err(unavailable(error.to_string())),
            }
        }
        Ok(())
    }
}
