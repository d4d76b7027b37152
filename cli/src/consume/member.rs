//! `millrace consume --group`: as a member of a consumer group. What was printed counts as handled.

use super::{Consume, say};
use crate::exit::{Failure, Outcome};
use crate::output::{self, Out};
use futures_util::FutureExt;
use millrace_client::{GroupConsumer, GroupEvent, Start};
use std::io::Write;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

impl Consume {
    /// Until the count is reached, or somebody ends it; then it commits what was printed, and leaves.
    pub(super) async fn run_in_group(&self, group: &str) -> Outcome {
        let client = self.remote.connect().await?;
        let mut builder = client.group_consumer(group).topic(&self.topic).client_id("millrace");
        match self.from {
            Start::Beginning => builder = builder.from_beginning(),
            Start::End => {}
            Start::Offset(_) | Start::Timestamp(_) => {
                return Err(Failure::usage(
                    "with --group, --from is beginning or end; `millrace group reset` moves a group elsewhere",
                ));
            }
        }
        let mut member = builder.build();
        let mut out = output::out();
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            outcome = self.read_in_group(&mut member, &mut out) => outcome?,
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminated.recv() => {}
        }
        out.flush()?;
        Ok(member.close().await?)
    }

    async fn read_in_group(&self, member: &mut GroupConsumer, out: &mut Out) -> Outcome {
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut failed = None;
        while left > 0 {
            // What has been printed is shown before waiting for more, and before it counts as handled.
            let event = match member.next_event().now_or_never() {
                Some(event) => event,
                None => {
                    out.flush()?;
                    member.next_event().await
                }
            };
            match event {
                Some(Ok(GroupEvent::Record(record))) => {
                    self.print(out, &record)?;
                    left -= 1;
                }
                Some(Ok(GroupEvent::Assigned(positions))) => {
                    out.flush()?;
                    let parts: Vec<_> = positions.into_iter().map(|it| (it.topic, it.partition)).collect();
                    eprintln!("millrace: assigned {}", list(&parts));
                }
                Some(Ok(GroupEvent::Revoked(parts))) => {
                    out.flush()?;
                    eprintln!("millrace: revoked {}", list(&parts));
                }
                Some(Ok(GroupEvent::Lost(parts))) => {
                    out.flush()?;
                    eprintln!("millrace: lost {}", list(&parts));
                }
                Some(Err(error)) => {
                    out.flush()?;
                    if let Some(earlier) = failed.replace(error) {
                        say(&earlier);
                    }
                }
                None => break,
            }
        }
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

fn list(parts: &[(Arc<str>, i32)]) -> String {
    match parts.is_empty() {
        true => "nothing".to_owned(),
        false => parts
            .iter()
            .map(|(topic, partition)| format!("{topic}-{partition}"))
            .collect::<Vec<_>>()
            .join(" "),
    }
}
