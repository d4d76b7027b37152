//! The contract: files and directories.

use super::*;

pub async fn write_then_read<I: Io>(io: I, dir: PathBuf) {
    let bytes = pattern(300_000, 1);
    let file = file_with(&io, &dir.join("f"), bytes.clone()).await;
    assert_eq!(io.len(&file).await.unwrap(), 300_000);
    assert_eq!(io.read_at(&file, 0, 300_000).await.unwrap(), bytes);
    assert_eq!(io.read_at(&file, 4095, 4098).await.unwrap(), bytes.slice(4095..4095 + 4098));
}

pub async fn reads_are_short_where_the_file_ends<I: Io>(io: I, dir: PathBuf) {
    let file = file_with(&io, &dir.join("f"), pattern(1000, 2)).await;
    assert_eq!(io.read_at(&file, 900, 4096).await.unwrap(), pattern(1000, 2).slice(900..));
    assert!(io.read_at(&file, 1000, 10).await.unwrap().is_empty());
    assert!(io.read_at(&file, 1_000_000, 10).await.unwrap().is_empty());
    assert!(io.read_at(&file, 0, 0).await.unwrap().is_empty());
}

pub async fn writes_beyond_the_end_leave_zeros<I: Io>(io: I, dir: PathBuf) {
    let file = file_with(&io, &dir.join("f"), "head".into()).await;
    io.write_at(&file, 10_000, vec!["tail".into()]).await.unwrap();
    assert_eq!(io.len(&file).await.unwrap(), 10_004);
    let all = io.read_at(&file, 0, 20_000).await.unwrap();
    assert!(
        all.starts_with(b"head") && all.ends_with(b"tail") && all[4..10_000].iter().all(|byte| *byte == 0)
    );
}

pub async fn vectored_writes_land_one_after_the_other<I: Io>(io: I, dir: PathBuf) {
    let file = io.open(&dir.join("f"), Open::Create).await.unwrap();
    // More pieces than one system call takes, some of them empty.
    let pieces: Vec<Bytes> = (0..2500).map(|at| pattern(at % 7 * 13, at)).collect();
    io.write_at(&file, 5, pieces.clone()).await.unwrap();
    let expected: Vec<u8> = [0; 5].into_iter().chain(pieces.iter().flatten().copied()).collect();
    assert_eq!(io.len(&file).await.unwrap(), expected.len() as u64);
    assert_eq!(io.read_at(&file, 0, expected.len()).await.unwrap(), expected);
    io.write_at(&file, 0, Vec::new()).await.unwrap();
    assert_eq!(io.len(&file).await.unwrap(), expected.len() as u64);
}

pub async fn a_volume_has_room<I: Io>(io: I, dir: PathBuf) {
    let space = io.space(&dir).await.unwrap();
    assert!(space.usable > 0 && space.usable <= space.total, "{space:?}");
    let nowhere = io.space(&dir.join("nowhere")).await.unwrap_err();
    assert_eq!(nowhere.kind(), std::io::ErrorKind::NotFound);
}

pub async fn overwriting_keeps_the_rest<I: Io>(io: I, dir: PathBuf) {
    let file = file_with(&io, &dir.join("f"), "0123456789".into()).await;
    io.write_at(&file, 3, vec!["ab".into(), "c".into()]).await.unwrap();
    assert_eq!(io.read_at(&file, 0, 20).await.unwrap(), "012abc6789");
}

pub async fn truncate_cuts_and_extends<I: Io>(io: I, dir: PathBuf) {
    let file = file_with(&io, &dir.join("f"), pattern(10_000, 3)).await;
    io.truncate(&file, 5001).await.unwrap();
    assert_eq!(io.len(&file).await.unwrap(), 5001);
    assert_eq!(io.read_at(&file, 0, 10_000).await.unwrap(), pattern(10_000, 3).slice(..5001));
    io.truncate(&file, 6000).await.unwrap();
    let tail = io.read_at(&file, 5001, 10_000).await.unwrap();
    assert!(tail.len() == 999 && tail.iter().all(|byte| *byte == 0));
    io.truncate(&file, 0).await.unwrap();
    assert_eq!(io.len(&file).await.unwrap(), 0);
}

pub async fn allocate_changes_neither_length_nor_content<I: Io>(io: I, dir: PathBuf) {
    let file = file_with(&io, &dir.join("f"), pattern(100, 4)).await;
    io.allocate(&file, 0, 1 << 20).await.unwrap();
    assert_eq!(io.len(&file).await.unwrap(), 100);
    assert_eq!(io.read_at(&file, 0, 1000).await.unwrap(), pattern(100, 4));
    io.write_at(&file, 100, vec![pattern(5000, 5)]).await.unwrap();
    assert_eq!(io.len(&file).await.unwrap(), 5100);
    assert_eq!(io.read_at(&file, 100, 5000).await.unwrap(), pattern(5000, 5));
    // Cutting gives what was reserved back, and the file stays as it is.
    io.truncate(&file, 5100).await.unwrap();
    assert_eq!(io.len(&file).await.unwrap(), 5100);
}

pub async fn open_modes<I: Io>(io: I, dir: PathBuf) {
    let path = dir.join("f");
    for how in [Open::Read, Open::Write] {
        assert_eq!(io.open(&path, how).await.err().unwrap().kind(), ErrorKind::NotFound);
    }
    let missing = dir.join("no").join("f");
    assert_eq!(io.open(&missing, Open::Create).await.err().unwrap().kind(), ErrorKind::NotFound);
    let file = io.open(&path, Open::Create).await.unwrap();
    io.write_at(&file, 0, vec!["kept".into()]).await.unwrap();
    assert_eq!(io.open(&path, Open::CreateNew).await.err().unwrap().kind(), ErrorKind::AlreadyExists);
    for how in [Open::Read, Open::Write, Open::Create] {
        let again = io.open(&path, how).await.unwrap();
        assert_eq!(io.read_at(&again, 0, 10).await.unwrap(), "kept");
    }
    let through = io.open(&path, Open::Write).await.unwrap();
    io.write_at(&through, 4, vec!["!".into()]).await.unwrap();
    assert_eq!(io.read_at(&file, 0, 10).await.unwrap(), "kept!");
}

pub async fn a_read_only_file_refuses_writes<I: Io>(io: I, dir: PathBuf) {
    drop(file_with(&io, &dir.join("f"), "kept".into()).await);
    let file = io.open(&dir.join("f"), Open::Read).await.unwrap();
    assert!(io.write_at(&file, 0, vec!["lost".into()]).await.is_err());
    assert!(io.truncate(&file, 0).await.is_err());
    assert_eq!(io.read_at(&file, 0, 10).await.unwrap(), "kept");
}

pub async fn writing_through_fills_whole_blocks<I: Io>(io: I, dir: PathBuf) {
    let path = dir.join("f");
    let missing = io.open(&path, Open::Through).await.err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let file = file_with(&io, &path, pattern(5 * 4096, 1)).await;
    io.sync(&file).await.unwrap();
    let through = io.open(&path, Open::Through).await.unwrap();
    let pieces = [pattern(3000, 2), Bytes::new(), pattern(3001, 3)];
    io.write_through(&through, 4096, pieces.to_vec()).await.unwrap();
    let mut expected = pattern(5 * 4096, 1).to_vec();
    expected[4096..4096 + 6001].copy_from_slice(&pieces.concat());
    expected[4096 + 6001..3 * 4096].fill(0);
    assert_eq!(io.read_at(&file, 0, 6 * 4096).await.unwrap(), expected);
    io.write_through(&through, 0, Vec::new()).await.unwrap();
    // A larger one than the buffer that was kept, beyond the end of the file.
    io.write_through(&through, 4 * 4096, vec![pattern(100_000, 4)]).await.unwrap();
    let tail = io.read_at(&file, 4 * 4096, 200_000).await.unwrap();
    assert_eq!((tail.len(), &tail[..100_000]), (25 * 4096, &pattern(100_000, 4)[..]));
    let between = io.write_through(&through, 100, vec![pattern(10, 5)]).await.err().unwrap();
    assert_eq!(between.kind(), ErrorKind::InvalidInput);
    assert_eq!(io.len(&file).await.unwrap(), 29 * 4096);
}

pub async fn two_handles_see_the_same_bytes<I: Io>(io: I, dir: PathBuf) {
    let one = file_with(&io, &dir.join("f"), "one".into()).await;
    let other = io.open(&dir.join("f"), Open::Read).await.unwrap();
    io.write_at(&one, 3, vec!["two".into()]).await.unwrap();
    assert_eq!(io.read_at(&other, 0, 10).await.unwrap(), "onetwo");
    assert_eq!(io.read_at(&one.clone(), 0, 10).await.unwrap(), "onetwo");
}

pub async fn a_file_outlives_its_name<I: Io>(io: I, dir: PathBuf) {
    let file = file_with(&io, &dir.join("f"), pattern(5000, 6)).await;
    io.remove_file(&dir.join("f")).await.unwrap();
    assert_eq!(io.open(&dir.join("f"), Open::Read).await.err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(io.read_at(&file, 0, 5000).await.unwrap(), pattern(5000, 6));
    let renamed = file_with(&io, &dir.join("g"), "old".into()).await;
    drop(file_with(&io, &dir.join("h"), "new".into()).await);
    io.rename(&dir.join("h"), &dir.join("g")).await.unwrap();
    assert_eq!(io.read_at(&renamed, 0, 10).await.unwrap(), "old");
}

pub async fn rename_moves_and_replaces<I: Io>(io: I, dir: PathBuf) {
    let (from, to) = (dir.join("from"), dir.join("to"));
    let file = file_with(&io, &from, "new".into()).await;
    drop(file_with(&io, &to, "old".into()).await);
    io.rename(&from, &to).await.unwrap();
    assert_eq!(io.open(&from, Open::Read).await.err().unwrap().kind(), ErrorKind::NotFound);
    let found = io.open(&to, Open::Read).await.unwrap();
    assert_eq!(io.read_at(&found, 0, 10).await.unwrap(), "new");
    // The handle from before the rename is the same file.
    io.write_at(&file, 3, vec!["er".into()]).await.unwrap();
    assert_eq!(io.read_at(&found, 0, 10).await.unwrap(), "newer");
}

pub async fn rename_moves_a_directory<I: Io>(io: I, dir: PathBuf) {
    io.create_dir_all(&dir.join("a")).await.unwrap();
    let file = file_with(&io, &dir.join("a/f"), "inside".into()).await;
    io.rename(&dir.join("a"), &dir.join("b")).await.unwrap();
    let found = io.open(&dir.join("b/f"), Open::Read).await.unwrap();
    assert_eq!(io.read_at(&found, 0, 10).await.unwrap(), "inside");
    assert_eq!(io.read_at(&file, 0, 10).await.unwrap(), "inside");
    assert_eq!(io.read_dir(&dir.join("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

pub async fn renaming_what_is_missing_fails<I: Io>(io: I, dir: PathBuf) {
    let error = io.rename(&dir.join("no"), &dir.join("f")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(io.read_dir(&dir).await.unwrap().is_empty());
}

pub async fn removing<I: Io>(io: I, dir: PathBuf) {
    assert_eq!(io.remove_file(&dir.join("f")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(io.remove_dir_all(&dir.join("d")).await.unwrap_err().kind(), ErrorKind::NotFound);
    io.create_dir_all(&dir.join("d/e/f")).await.unwrap();
    drop(file_with(&io, &dir.join("d/e/g"), "x".into()).await);
    let open = file_with(&io, &dir.join("d/h"), "still here".into()).await;
    assert!(io.remove_file(&dir.join("d")).await.is_err());
    io.remove_dir_all(&dir.join("d")).await.unwrap();
    assert!(io.read_dir(&dir).await.unwrap().is_empty());
    assert_eq!(io.read_at(&open, 0, 100).await.unwrap(), "still here");
}

pub async fn directories_are_listed_in_order<I: Io>(io: I, dir: PathBuf) {
    for name in ["b", "a10", "c", "a2"] {
        drop(file_with(&io, &dir.join(name), "x".into()).await);
    }
    io.create_dir_all(&dir.join("bb/deep")).await.unwrap();
    io.create_dir_all(&dir.join("bb/deep")).await.unwrap();
    let entry = |name: &str, is_dir| DirEntry { name: name.to_owned(), is_dir };
    let expected =
        [entry("a10", false), entry("a2", false), entry("b", false), entry("bb", true), entry("c", false)];
    assert_eq!(io.read_dir(&dir).await.unwrap(), expected);
    assert_eq!(io.read_dir(&dir.join("bb")).await.unwrap(), [entry("deep", true)]);
    assert_eq!(io.read_dir(&dir.join("no")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(io.create_dir_all(&dir.join("b")).await.is_err(), "a file is in the way");
}

pub async fn syncs_succeed<I: Io>(io: I, dir: PathBuf) {
    let file = file_with(&io, &dir.join("f"), pattern(10_000, 7)).await;
    io.sync(&file).await.unwrap();
    io.sync(&file).await.unwrap();
    io.sync_dir(&dir).await.unwrap();
    assert_eq!(io.sync_dir(&dir.join("no")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

pub async fn a_lock_is_exclusive_until_dropped<I: Io>(io: I, dir: PathBuf) {
    let path = dir.join("lock");
    let held = io.lock(&path).await.unwrap();
    assert_eq!(io.lock(&path).await.err().unwrap().kind(), ErrorKind::WouldBlock);
    let other = io.lock(&dir.join("other")).await.unwrap();
    drop(held);
    let again = io.lock(&path).await.unwrap();
    drop((again, other));
}

pub async fn a_dropped_wait_leaves_the_file_usable<I: Io>(io: I, dir: PathBuf) {
    let file = file_with(&io, &dir.join("f"), pattern(1 << 20, 8)).await;
    for at in 0..20 {
        let mut write = Box::pin(io.write_at(&file, at * 4096, vec![pattern(4096, 9)]));
        let mut read = Box::pin(io.read_at(&file, 0, 1 << 20));
        poll_fn(|cx| {
            let _ = write.as_mut().poll(cx);
            let _ = read.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
    }
    // The writes that nobody waits for any more may still be under way.
    let marker = pattern(5000, 10);
    io.write_at(&file, 1 << 20, vec![marker.clone()]).await.unwrap();
    assert_eq!(io.read_at(&file, 1 << 20, 5000).await.unwrap(), marker);
    io.sync(&file).await.unwrap();
}
