//! The contract of `Io`, case by case. Every machine runs every case: `contract_suite!(run)` makes one test of each,
//! where `run` gets a closure from a machine and an empty directory to the case's future.
//!
//! Cases assert what the trait promises, not how fast: waits are for events, and the limits on them are generous.

mod files;
mod mailboxes;
mod sockets;
mod tasks;

pub use files::*;
pub use mailboxes::*;
pub use sockets::*;
pub use tasks::*;

use bytes::{Bytes, BytesMut};
use futures_util::future::{join, select};
use millrace_io::mailbox::mailbox;
use millrace_io::{DirEntry, Io, Listener, Open, Reader, Writer};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Makes one test of each case. `$run` is called with a function from (machine, scratch directory) to a future.
#[macro_export]
macro_rules! contract_suite {
    ($run:path) => {
        $crate::contract_suite!(@tests $run:
            write_then_read, reads_are_short_where_the_file_ends, writes_beyond_the_end_leave_zeros,
            vectored_writes_land_one_after_the_other, a_volume_has_room, overwriting_keeps_the_rest, truncate_cuts_and_extends,
            allocate_changes_neither_length_nor_content, open_modes, a_read_only_file_refuses_writes,
            two_handles_see_the_same_bytes, writing_through_fills_whole_blocks, a_file_outlives_its_name, rename_moves_and_replaces,
            rename_moves_a_directory, renaming_what_is_missing_fails, removing, directories_are_listed_in_order,
            syncs_succeed, a_lock_is_exclusive_until_dropped, a_dropped_wait_leaves_the_file_usable,
            sleeps_end_in_order, a_deadline_in_the_past_is_over, time_is_monotonic, yielding_lets_others_run,
            spawned_tasks_never_run_inline, counters_grow, random_numbers_differ,
            echo, large_frames_are_read_exactly, split_frames_arrive_whole, reads_respect_their_maximum,
            the_end_of_a_stream, read_exact_notices_a_short_stream, dropping_both_halves_closes,
            shutdown_ends_both_directions_readers, a_reader_alone_keeps_the_connection,
            many_connections_at_once, file_ranges_mix_with_writes, a_cold_file_is_sent_whole,
            a_file_that_ends_early_is_an_error, an_unread_peer_holds_the_sender_back, a_stalled_peer_times_out,
            a_slow_peer_does_not_time_out, writing_to_a_closed_peer_fails, a_taken_address_is_refused,
            a_dropped_listener_frees_its_address, connecting_to_nobody_is_refused, a_cancelled_accept_loses_nothing,
            mail_keeps_its_order, a_full_mailbox_holds_the_sender_back, a_mailbox_without_senders_ends,
            a_mailbox_without_receiver_hands_back,
        );
    };
    (@tests $run:path: $($case:ident),* $(,)?) => {
        $(#[test]
        fn $case() {
            $run(|io, dir| contract::$case(io, dir));
        })*
    };
}

/// Longer than any case takes: what is awaited for so long will not come.
const LONG: Duration = Duration::from_secs(20);

fn pattern(len: usize, salt: usize) -> Bytes {
    (0..len).map(|at| ((at * 31 + at / 251 + salt) % 256) as u8).collect::<Vec<u8>>().into()
}

/// What `future` gives, or a failed test.
async fn within<I: Io, T>(io: &I, what: &str, future: impl Future<Output = T>) -> T {
    match select(pin!(future), pin!(io.sleep(LONG))).await {
        futures_util::future::Either::Left((value, _)) => value,
        futures_util::future::Either::Right(_) => panic!("{what}: not within {LONG:?}"),
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

struct Pair<I: Io> {
    client: (I::Reader, I::Writer),
    server: (I::Reader, I::Writer),
}

/// A connection to oneself.
async fn pair<I: Io>(io: &I) -> Pair<I> {
    let mut listener = io.listen(any_port()).await.unwrap();
    let address = listener.local_addr();
    let (connected, accepted) =
        within(io, "a connection", join(io.connect(address), listener.accept())).await;
    let client = io.adopt(connected.unwrap()).unwrap();
    let server = io.adopt(accepted.unwrap().0).unwrap();
    Pair { client, server }
}

async fn file_with<I: Io>(io: &I, path: &std::path::Path, bytes: Bytes) -> I::File {
    let file = io.open(path, Open::CreateNew).await.unwrap();
    io.write_at(&file, 0, vec![bytes]).await.unwrap();
    file
}

/// Everything up to the end of the stream.
async fn read_all<I: Io>(io: &I, reader: &mut I::Reader) -> BytesMut {
    let mut all = BytesMut::new();
    while within(io, "more bytes or the end", reader.read(&mut all, 1 << 16)).await.unwrap() > 0 {}
    all
}
