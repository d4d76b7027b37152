//! What a shard does for whoever asked: appends, reads, waits and looks up in the partitions that it owns.

use crate::shard::Shard;
use crate::shard::calls::{
    EpochEndPart, FetchCall, FetchFailure, FetchPart, Fetched, Found, ListOffsetsCall, ListOffsetsFailure,
    PartsCall, ProduceCall, WatchCall,
};
use crate::shard::partition_driver::{Incoming, ListOffsetError, PartitionDriver, PartitionId};
use crate::shard::tickets::{ProduceGather, Watch, WatchTicket};
use millrace_io::Io;
use millrace_logic::partition::{
    EpochEnd, FetchError, Isolation, ListError, ProduceError, ProducerEntry, Watching,
};
use std::pin::pin;
use std::rc::Rc;

impl<I: Io> Shard<I> {
    /// Whether a partition is not here because its topic exists no more.
    pub(super) fn is_deleted(&self, id: &PartitionId) -> bool {
        self.0.image.borrow().topic_by_id(id.topic).is_none()
    }

    /// A partition that is here, or why it is not.
    fn held(&self, id: &PartitionId) -> Result<Rc<PartitionDriver<I>>, FetchFailure> {
        self.partition(id).ok_or_else(|| match self.is_deleted(id) {
            true => FetchFailure::Refused(FetchError::Deleted),
            false => FetchFailure::UnknownPartition,
        })
    }

    pub(super) fn epoch_ends_here(
        &self,
        call: PartsCall<EpochEndPart, Result<Option<EpochEnd>, FetchFailure>>,
    ) {
        let end = |part: &EpochEndPart| Ok(self.held(&part.id)?.epoch_end(part.epoch, part.current)?);
        let _ = call.reply.send(call.parts.iter().map(end).collect());
    }

    pub(super) fn producers_here(
        &self,
        call: PartsCall<PartitionId, Result<Vec<ProducerEntry>, FetchFailure>>,
    ) {
        let producers = |id: &PartitionId| Ok(self.held(id)?.producers());
        let _ = call.reply.send(call.parts.iter().map(producers).collect());
    }

    pub(super) async fn sizes_here(&self, call: PartsCall<PartitionId, Result<u64, FetchFailure>>) {
        let mut sizes = Vec::with_capacity(call.parts.len());
        for id in &call.parts {
            sizes.push(match self.held(id) {
                Ok(driver) => driver.size().await.map_err(FetchFailure::from),
                Err(failure) => Err(failure),
            });
        }
        let _ = call.reply.send(sizes);
    }

    pub(super) fn produce_here(&self, call: ProduceCall) {
        let gather = ProduceGather::new(call.parts.len(), call.reply);
        for (index, part) in call.parts.into_iter().enumerate() {
            let ticket = gather.ticket(index);
            match self.partition(&part.id) {
                Some(driver) => driver.produce(Incoming {
                    batch: part.batch,
                    checked: part.checked,
                    acks: call.acks,
                    deadline: call.deadline,
                    ticket,
                }),
                None if self.is_deleted(&part.id) => ticket.answer(Err(ProduceError::Deleted)),
                None => ticket.unknown_partition(),
            }
        }
    }

    pub(super) async fn fetch_here(&self, call: FetchCall<I::File>) {
        let mut left = call.max_bytes;
        let mut found = Vec::with_capacity(call.parts.len());
        let mut first = true;
        for part in &call.parts {
            let result = self.read_part(part, left, first, call.isolation).await;
            if let Ok(part) = &result {
                left = left.saturating_sub(part.bytes());
                first &= part.extents.is_empty();
            }
            found.push(result);
        }
        let _ = call.reply.send(found);
    }

    async fn read_part(
        &self,
        part: &FetchPart,
        left: u64,
        first: bool,
        isolation: Isolation,
    ) -> Fetched<I::File> {
        let driver = self.held(&part.id)?;
        if let Some(last) = part.last_fetched
            && let Some(end) = driver.diverging_epoch(last, part.offset)?
        {
            let bounds = driver.bounds(end.end.get(), part.epoch, isolation)?;
            return Ok(Found { bounds, extents: Vec::new(), diverging: Some(end) });
        }
        let bounds = driver.bounds(part.offset, part.epoch, isolation)?;
        let max_bytes = part.max_bytes.min(left);
        let extents = match part.offset < bounds.upto.get() && (first || max_bytes > 0) {
            true => driver.read(part.offset, bounds.upto, max_bytes, first).await?,
            false => Vec::new(),
        };
        Ok(Found { bounds, extents, diverging: None })
    }

    pub(super) async fn watch_here(&self, call: WatchCall) {
        let mut reply = call.reply;
        let number = self.0.next_watch.get();
        self.0.next_watch.set(number + 1);
        let watch = Watch::new(number, call.bytes.max(1));
        let ticket = WatchTicket(watch.clone());
        let mut waiting = Vec::with_capacity(call.parts.len());
        for (id, from, seen) in &call.parts {
            match self.partition(id).map(|driver| (driver.watch(ticket.clone(), *from, seen), driver)) {
                Some((Ok(Watching::Parked), driver)) => waiting.push(driver),
                // There is something to learn already: an error, or more to read.
                _ => ticket.fire(),
            }
        }
        if self.is_stopping() {
            ticket.fire();
        }
        self.0.watches.borrow_mut().insert(number, watch.clone());
        {
            let fired = pin!(watch.fired());
            let late = pin!(self.0.io.sleep_until(call.deadline));
            let cancelled = pin!(reply.cancellation());
            futures_util::future::select(futures_util::future::select(fired, late), cancelled).await;
        }
        self.0.watches.borrow_mut().remove(&number);
        for driver in waiting {
            driver.unwatch(&ticket);
        }
        let _ = reply.send(());
    }

    pub(super) async fn list_offsets_here(&self, call: ListOffsetsCall) {
        let mut found = Vec::with_capacity(call.parts.len());
        for part in &call.parts {
            found.push(match self.partition(&part.id) {
                Some(driver) => driver
                    .list_offset(part.spec, part.epoch, call.isolation)
                    .await
                    .map_err(ListOffsetsFailure::from),
                None if self.is_deleted(&part.id) => {
                    Err(ListOffsetError::from(ListError::from(FetchError::Deleted)).into())
                }
                None => Err(ListOffsetsFailure::UnknownPartition),
            });
        }
        let _ = call.reply.send(found);
    }
}
