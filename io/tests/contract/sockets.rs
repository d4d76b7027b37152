//! The contract: sockets.

use super::*;

pub async fn echo<I: Io>(io: I, _dir: PathBuf) {
    let mut listener = io.listen(any_port()).await.unwrap();
    let address = listener.local_addr();
    assert!(address.port() != 0 && address.ip() == any_port().ip());
    let server = io.clone();
    io.spawn(async move {
        let (socket, peer) = listener.accept().await.unwrap();
        assert!(peer.ip().is_loopback() && peer.port() != 0);
        let (mut reader, mut writer) = server.adopt(socket).unwrap();
        let mut bytes = BytesMut::new();
        while reader.read(&mut bytes, 4096).await.unwrap() > 0 {
            writer.write(vec![bytes.split().freeze()]).await.unwrap();
        }
    });
    let (mut reader, mut writer) = io.adopt(io.connect(address).await.unwrap()).unwrap();
    for round in 0..50 {
        let said = pattern(1 + round * 97, round);
        writer.write(vec![said.slice(..1), said.slice(1..)]).await.unwrap();
        let heard = within(&io, "the echo", reader.read_exact(BytesMut::new(), said.len())).await.unwrap();
        assert_eq!(heard, said);
    }
}

pub async fn large_frames_are_read_exactly<I: Io>(io: I, _dir: PathBuf) {
    let Pair { client: (_keep, mut writer), server: (mut reader, _open) } = pair(&io).await;
    let frame = pattern(3_000_000, 12);
    let sent = frame.clone();
    io.spawn(async move {
        writer.write(vec![sent.slice(..1000), sent.slice(1000..), "next".into()]).await.unwrap();
        std::future::pending::<()>().await;
    });
    let mut head = BytesMut::new();
    within(&io, "the head", reader.read(&mut head, 500)).await.unwrap();
    head.reserve(frame.len() - head.len());
    let whole = within(&io, "the frame", reader.read_exact(head, frame.len())).await.unwrap();
    assert_eq!(whole.len(), frame.len());
    assert!(whole == frame);
    // What follows is still there.
    assert_eq!(within(&io, "the rest", reader.read_exact(BytesMut::new(), 4)).await.unwrap(), "next");
}

pub async fn split_frames_arrive_whole<I: Io>(io: I, _dir: PathBuf) {
    let Pair { client: (_keep, mut writer), server: (mut reader, _open) } = pair(&io).await;
    let sender = io.clone();
    io.spawn(async move {
        // Frames of 4 bytes of length and a body, cut where no frame ends.
        let frames: Vec<u8> = (0..200u32)
            .flat_map(|n| (n % 50).to_be_bytes().into_iter().chain(pattern(n as usize % 50, n as usize)))
            .collect();
        for piece in frames.chunks(17) {
            writer.write(vec![Bytes::copy_from_slice(piece)]).await.unwrap();
            sender.yield_now().await;
        }
    });
    let mut bytes = BytesMut::new();
    for n in 0..200usize {
        while bytes.len() < 4 || bytes.len() < 4 + u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize
        {
            assert!(within(&io, "a frame", reader.read(&mut bytes, 64)).await.unwrap() > 0);
        }
        let frame = bytes.split_to(4 + n % 50);
        assert_eq!(frame[4..], pattern(n % 50, n)[..]);
    }
}

pub async fn reads_respect_their_maximum<I: Io>(io: I, _dir: PathBuf) {
    let mut pair = pair(&io).await;
    pair.client.1.write(vec![pattern(10_000, 13)]).await.unwrap();
    let mut all = BytesMut::from(&b"before"[..]);
    while all.len() < 10_006 {
        let had = all.len();
        let count = within(&io, "bytes", pair.server.0.read(&mut all, 100)).await.unwrap();
        assert!((1..=100).contains(&count) && all.len() == had + count);
    }
    assert_eq!(all[..6], b"before"[..]);
    assert_eq!(all[6..], pattern(10_000, 13)[..]);
}

pub async fn the_end_of_a_stream<I: Io>(io: I, _dir: PathBuf) {
    let Pair { client: (client_reader, mut client_writer), server: (mut reader, _writer) } = pair(&io).await;
    client_writer.write(vec!["last words".into()]).await.unwrap();
    drop((client_reader, client_writer));
    assert_eq!(read_all(&io, &mut reader).await, "last words");
    let again = within(&io, "the end again", reader.read(&mut BytesMut::new(), 10)).await;
    assert_eq!(again.unwrap(), 0);
}

pub async fn read_exact_notices_a_short_stream<I: Io>(io: I, _dir: PathBuf) {
    let Pair { client: (client_reader, mut client_writer), server: (mut reader, _writer) } = pair(&io).await;
    client_writer.write(vec![pattern(99, 1)]).await.unwrap();
    drop((client_reader, client_writer));
    let error = within(&io, "the end", reader.read_exact(BytesMut::new(), 100)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

pub async fn dropping_both_halves_closes<I: Io>(io: I, _dir: PathBuf) {
    let mut pair = pair(&io).await;
    drop(pair.server);
    let count = within(&io, "the end", pair.client.0.read(&mut BytesMut::new(), 10)).await.unwrap();
    assert_eq!(count, 0);
    // A socket that nobody adopted closes too.
    let mut listener = io.listen(any_port()).await.unwrap();
    let connected = io.connect(listener.local_addr()).await.unwrap();
    drop(within(&io, "a connection", listener.accept()).await.unwrap());
    let (mut reader, _writer) = io.adopt(connected).unwrap();
    assert_eq!(within(&io, "the end", reader.read(&mut BytesMut::new(), 10)).await.unwrap(), 0);
}

pub async fn shutdown_ends_both_directions_readers<I: Io>(io: I, _dir: PathBuf) {
    let Pair { client: (mut ours, mut writer), server: (mut theirs, _their_writer) } = pair(&io).await;
    let ended = Rc::new(Cell::new(false));
    let flag = ended.clone();
    io.spawn(async move {
        assert_eq!(ours.read(&mut BytesMut::new(), 10).await.unwrap(), 0);
        flag.set(true);
    });
    io.yield_now().await;
    writer.write(vec!["goodbye".into()]).await.unwrap();
    writer.shutdown();
    assert_eq!(read_all(&io, &mut theirs).await, "goodbye");
    within(&io, "our own reader's end", async {
        while !ended.get() {
            io.sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert!(writer.write(vec!["more".into()]).await.is_err());
}

pub async fn a_reader_alone_keeps_the_connection<I: Io>(io: I, _dir: PathBuf) {
    let Pair { client: (mut reader, writer), server: (_theirs, mut their_writer) } = pair(&io).await;
    drop(writer);
    io.sleep(Duration::from_millis(10)).await;
    their_writer.write(vec!["still there?".into()]).await.unwrap();
    let got = within(&io, "the answer", reader.read_exact(BytesMut::new(), 12)).await.unwrap();
    assert_eq!(got, "still there?");
}

pub async fn many_connections_at_once<I: Io>(io: I, _dir: PathBuf) {
    const COUNT: usize = 100;
    let mut listener = io.listen(any_port()).await.unwrap();
    let address = listener.local_addr();
    let server = io.clone();
    io.spawn(async move {
        for _ in 0..COUNT {
            let (socket, _) = listener.accept().await.unwrap();
            let (mut reader, mut writer) = server.adopt(socket).unwrap();
            server.spawn(async move {
                let asked = reader.read_exact(BytesMut::new(), 2000).await.unwrap();
                writer.write(vec![asked.freeze()]).await.unwrap();
                // Keep the connection until the peer has all.
                while reader.read(&mut BytesMut::new(), 10).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    let done = Rc::new(Cell::new(0));
    for n in 0..COUNT {
        let (client, done) = (io.clone(), done.clone());
        io.spawn(async move {
            let (mut reader, mut writer) = client.adopt(client.connect(address).await.unwrap()).unwrap();
            writer.write(vec![pattern(2000, n)]).await.unwrap();
            assert_eq!(reader.read_exact(BytesMut::new(), 2000).await.unwrap(), pattern(2000, n));
            done.set(done.get() + 1);
        });
    }
    within(&io, "all answers", async {
        while done.get() < COUNT {
            io.sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

pub async fn file_ranges_mix_with_writes<I: Io>(io: I, dir: PathBuf) {
    let bytes = pattern(500_000, 14);
    let file = file_with(&io, &dir.join("f"), bytes.clone()).await;
    let Pair { client: (_keep, mut writer), server: (mut reader, _open) } = pair(&io).await;
    let mut expected = BytesMut::new();
    let ranges = [(0, 10), (5000, 200_000), (499_999, 1), (123, 0), (4096, 4096)];
    for _corked in [false, true] {
        for (offset, len) in ranges {
            expected.extend_from_slice(b"head");
            expected.extend_from_slice(&bytes[offset..offset + len]);
            expected.extend_from_slice(b"tail");
        }
    }
    io.spawn(async move {
        for corked in [false, true] {
            for (offset, len) in ranges {
                writer.cork(corked);
                writer.write(vec!["he".into(), "ad".into()]).await.unwrap();
                writer.send_file(&file, offset as u64, len as u64, true).await.unwrap();
                writer.write(vec!["tail".into()]).await.unwrap();
                writer.cork(false);
            }
        }
        std::future::pending::<()>().await;
    });
    let got = within(&io, "all", reader.read_exact(BytesMut::new(), expected.len())).await.unwrap();
    assert!(got == expected);
}

pub async fn a_cold_file_is_sent_whole<I: Io>(io: I, dir: PathBuf) {
    let bytes = pattern(2_000_000, 15);
    let file = file_with(&io, &dir.join("f"), bytes.clone()).await;
    io.sync(&file).await.unwrap();
    let Pair { client: (_keep, mut writer), server: (mut reader, _open) } = pair(&io).await;
    io.spawn(async move {
        writer.cork(true);
        writer.send_file(&file, 1, 1_999_999, false).await.unwrap();
        writer.write(vec!["end".into()]).await.unwrap();
        writer.cork(false);
        std::future::pending::<()>().await;
    });
    let got = within(&io, "the file", reader.read_exact(BytesMut::new(), 2_000_002)).await.unwrap();
    assert!(got[..1_999_999] == bytes[1..] && got.ends_with(b"end"));
}

pub async fn a_file_that_ends_early_is_an_error<I: Io>(io: I, dir: PathBuf) {
    let file = file_with(&io, &dir.join("f"), pattern(1000, 16)).await;
    for recent in [true, false] {
        let mut pair = pair(&io).await;
        let sent = within(&io, "an error", pair.client.1.send_file(&file, 500, 1000, recent)).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let got = within(&io, "what there is", pair.server.0.read_exact(BytesMut::new(), 500)).await.unwrap();
        assert_eq!(got, pattern(1000, 16).slice(500..));
    }
}

pub async fn an_unread_peer_holds_the_sender_back<I: Io>(io: I, _dir: PathBuf) {
    const PIECE: usize = 256 << 10;
    const PIECES: usize = 256;
    let Pair { client: (_keep, mut writer), server: (mut reader, _open) } = pair(&io).await;
    let sent = Rc::new(Cell::new(0));
    let count = sent.clone();
    let piece = pattern(PIECE, 17);
    let expected = piece.clone();
    io.spawn(async move {
        for _ in 0..PIECES {
            writer.write(vec![piece.clone()]).await.unwrap();
            count.set(count.get() + 1);
        }
        std::future::pending::<()>().await;
    });
    // Wait until the sender stands still.
    let mut last = usize::MAX;
    while sent.get() != last {
        last = sent.get();
        io.sleep(Duration::from_millis(100)).await;
    }
    assert!(sent.get() < PIECES, "64 MiB are under way to a peer that reads nothing");
    let got = within(&io, "all of it", reader.read_exact(BytesMut::new(), PIECE * PIECES)).await.unwrap();
    assert!(got.chunks(PIECE).all(|chunk| chunk == expected));
}

pub async fn a_stalled_peer_times_out<I: Io>(io: I, dir: PathBuf) {
    let file = file_with(&io, &dir.join("f"), pattern(1 << 20, 18)).await;
    let piece = pattern(1 << 20, 19);
    for by_file in [false, true] {
        let mut pair = pair(&io).await;
        let writer = &mut pair.client.1;
        writer.set_stall_limit(Duration::from_millis(100));
        let start = io.now();
        let error = within(&io, "the limit", async {
            loop {
                let sent = match by_file {
                    true => writer.send_file(&file, 0, 1 << 20, true).await,
                    false => writer.write(vec![piece.clone()]).await,
                };
                if let Err(error) = sent {
                    break error;
                }
            }
        })
        .await;
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(io.now() >= start + Duration::from_millis(100));
    }
}

pub async fn a_slow_peer_does_not_time_out<I: Io>(io: I, _dir: PathBuf) {
    let Pair { client: (_keep, mut writer), server: (mut reader, _open) } = pair(&io).await;
    writer.set_stall_limit(Duration::from_millis(500));
    let done = Rc::new(RefCell::new(None));
    let (sender, outcome) = (io.clone(), done.clone());
    io.spawn(async move {
        // Longer than the limit in all, but some byte is taken all the time.
        let start = sender.now();
        let sent = writer.write(vec![Bytes::from(vec![20; 24 << 20])]).await;
        *outcome.borrow_mut() = Some((sent.map_err(|error| error.kind()), sender.now() - start));
        std::future::pending::<()>().await;
    });
    let mut left: usize = 24 << 20;
    while left > 0 {
        io.sleep(Duration::from_millis(60)).await;
        let piece = left.min(2 << 20);
        within(&io, "a piece", reader.read_exact(BytesMut::new(), piece)).await.unwrap();
        left -= piece;
    }
    while done.borrow().is_none() {
        io.sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(done.borrow().as_ref().map(|(sent, _)| *sent), Some(Ok(())));
}

pub async fn writing_to_a_closed_peer_fails<I: Io>(io: I, _dir: PathBuf) {
    let mut pair = pair(&io).await;
    drop(pair.server);
    let error = within(&io, "an error", async {
        loop {
            if let Err(error) = pair.client.1.write(vec![pattern(1000, 21)]).await {
                return error;
            }
            io.sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
}

pub async fn a_taken_address_is_refused<I: Io>(io: I, _dir: PathBuf) {
    let listener = io.listen(any_port()).await.unwrap();
    let error = io.listen(listener.local_addr()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let other = io.listen(any_port()).await.unwrap();
    assert_ne!(other.local_addr(), listener.local_addr());
}

pub async fn a_dropped_listener_frees_its_address<I: Io>(io: I, _dir: PathBuf) {
    let listener = io.listen(any_port()).await.unwrap();
    let address = listener.local_addr();
    drop(listener);
    within(&io, "the address", async {
        while io.listen(address).await.is_err() {
            io.sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

pub async fn connecting_to_nobody_is_refused<I: Io>(io: I, _dir: PathBuf) {
    let listener = io.listen(any_port()).await.unwrap();
    let address = listener.local_addr();
    drop(listener);
    let refused = within(&io, "a refusal", async {
        loop {
            match io.connect(address).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return true,
                _ => io.sleep(Duration::from_millis(1)).await,
            }
        }
    })
    .await;
    assert!(refused);
}

pub async fn a_cancelled_accept_loses_nothing<I: Io>(io: I, _dir: PathBuf) {
    let mut listener = io.listen(any_port()).await.unwrap();
    let address = listener.local_addr();
    let mut sockets = VecDeque::new();
    for _ in 0..5 {
        // Give up before anybody has come.
        assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none());
        sockets.push_back(within(&io, "a connection", io.connect(address)).await.unwrap());
        let (accepted, _) = within(&io, "a connection", listener.accept()).await.unwrap();
        let (_reader, mut writer) = io.adopt(accepted).unwrap();
        writer.write(vec!["hi".into()]).await.unwrap();
        let (mut reader, _writer) = io.adopt(sockets.pop_front().unwrap()).unwrap();
        assert_eq!(within(&io, "a word", reader.read_exact(BytesMut::new(), 2)).await.unwrap(), "hi");
    }
}
