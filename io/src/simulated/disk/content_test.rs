//! What a power cut may and may not do to a file's bytes, over many seeds.

use super::*;

const SECTOR: usize = 512;

fn bytes(len: usize, value: u8) -> Bytes {
    vec![value; len].into()
}

fn write(content: &mut Content, offset: u64, data: Bytes) {
    let len = data.len() as u64;
    content.write(offset, &[data], len);
}

fn sync(content: &mut Content) {
    let point = content.sync_point();
    content.synced(point);
}

/// Each seed's content after `make` and a power cut.
fn cuts(make: impl Fn(&mut Content, &mut Rng)) -> Vec<Vec<u8>> {
    let cut = |seed| {
        let mut rng = Rng::new(seed);
        let mut content = Content::new(SECTOR);
        make(&mut content, &mut rng);
        content.power_cut(&mut rng, 0.0);
        assert!(content.dirty.is_empty() && content.lengths.is_empty());
        content.bytes
    };
    (0..200).map(cut).collect()
}

#[test]
fn synced_bytes_always_survive() {
    for left in cuts(|content, _| {
        write(content, 0, bytes(5000, 1));
        write(content, 100, bytes(1000, 2));
        sync(content);
    }) {
        assert_eq!(left.len(), 5000);
        assert!(left[..100].iter().all(|b| *b == 1) && left[100..1100].iter().all(|b| *b == 2));
        assert!(left[1100..].iter().all(|b| *b == 1));
    }
}

#[test]
fn unsynced_overwrites_tear_at_sectors_only() {
    let outcomes = cuts(|content, _| {
        write(content, 0, bytes(8 * SECTOR, 1));
        sync(content);
        write(content, 0, bytes(8 * SECTOR, 2));
    });
    let mut reordered = false;
    for left in &outcomes {
        assert_eq!(left.len(), 8 * SECTOR);
        let sectors: Vec<u8> = left.chunks(SECTOR).map(|sector| sector[0]).collect();
        assert!(
            left.chunks(SECTOR).all(|sector| sector.iter().all(|b| *b == sector[0] && (*b == 1 || *b == 2)))
        );
        reordered |= sectors.windows(2).any(|pair| pair == [1, 2]);
    }
    assert!(reordered, "a later sector never survived an earlier one");
    assert!(outcomes.iter().any(|left| left.iter().all(|b| *b == 1)), "nothing was ever lost whole");
    assert!(outcomes.iter().any(|left| left.iter().all(|b| *b == 2)), "nothing ever survived whole");
}

#[test]
fn unsynced_lengths_may_advance_without_their_bytes() {
    let outcomes = cuts(|content, _| {
        write(content, 0, bytes(1000, 1));
        sync(content);
        write(content, 1000, bytes(3000, 2));
    });
    for left in &outcomes {
        assert!((1000..=4000).contains(&left.len()) && left[..1000].iter().all(|b| *b == 1));
        assert!(left[1000..].iter().all(|b| *b == 0 || *b == 2));
    }
    assert!(outcomes.iter().any(|left| left.len() == 1000));
    assert!(outcomes.iter().any(|left| left.len() == 4000 && left.ends_with(&[0])), "no tail of zeros");
    assert!(outcomes.iter().any(|left| left.len() == 4000 && left[1000..].iter().all(|b| *b == 2)));
    assert!(outcomes.iter().any(|left| left.len() % 1000 != 0), "the length never moved piece by piece");
}

#[test]
fn an_unsynced_truncation_may_be_undone() {
    let outcomes = cuts(|content, _| {
        write(content, 0, bytes(4000, 1));
        sync(content);
        content.truncate(700);
    });
    assert!(outcomes.iter().all(|left| left.len() >= 700 && left[..700].iter().all(|b| *b == 1)));
    assert!(outcomes.iter().any(|left| left.len() == 700));
    assert!(outcomes.iter().any(|left| left.len() == 4000 && left.iter().all(|b| *b == 1)));
}

#[test]
fn a_sync_covers_what_was_written_before_it_was_submitted() {
    let outcomes = cuts(|content, _| {
        write(content, 0, bytes(SECTOR, 1));
        let point = content.sync_point();
        write(content, 0, bytes(SECTOR, 2));
        write(content, SECTOR as u64, bytes(SECTOR, 3));
        content.synced(point);
    });
    for left in &outcomes {
        assert!(left.len() >= SECTOR && (left[0] == 1 || left[0] == 2), "the synced version was lost");
    }
    assert!(outcomes.iter().any(|left| left[0] == 1) && outcomes.iter().any(|left| left[0] == 2));
    assert!(outcomes.iter().any(|left| left.len() == SECTOR));
}

#[test]
fn after_a_failed_sync_a_good_one_proves_nothing() {
    let outcomes = cuts(|content, rng| {
        write(content, 0, bytes(4 * SECTOR, 1));
        sync(content);
        write(content, 0, bytes(4 * SECTOR, 2));
        let point = content.sync_point();
        content.sync_failed(point, rng);
        sync(content);
        assert!(content.read(0, 4096).iter().all(|b| *b == 2), "the page cache shows the new bytes");
    });
    assert!(outcomes.iter().any(|left| left.contains(&1)), "a lost page was never lost");
    assert!(outcomes.iter().any(|left| !left.contains(&1)));
    let rewritten = cuts(|content, rng| {
        write(content, 0, bytes(4 * SECTOR, 1));
        let point = content.sync_point();
        content.sync_failed(point, rng);
        write(content, 0, bytes(4 * SECTOR, 2));
        sync(content);
    });
    assert!(rewritten.iter().all(|left| left.iter().all(|b| *b == 2)), "written again and synced is durable");
}

#[test]
fn a_version_given_up_by_a_failed_sync_is_not_saved_by_one_under_way() {
    let outcomes = cuts(|content, rng| {
        write(content, 0, bytes(SECTOR, 1));
        sync(content);
        write(content, 0, bytes(SECTOR, 2));
        let failing = content.sync_point();
        content.sync_failed(failing, rng);
        let point = content.sync_point();
        write(content, 0, bytes(SECTOR, 3));
        content.synced(point);
    });
    assert!(outcomes.iter().any(|left| left[0] == 1), "the base was never what is left");
    assert!(outcomes.iter().any(|left| left[0] == 3));
}

#[test]
fn after_a_kill_lost_pages_may_show_the_old_bytes() {
    let mut shown = [false; 2];
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let mut content = Content::new(SECTOR);
        write(&mut content, 0, bytes(SECTOR, 1));
        sync(&mut content);
        write(&mut content, 0, bytes(SECTOR, 2));
        let point = content.sync_point();
        content.sync_failed(point, &mut rng);
        content.killed(&mut rng);
        shown[content.bytes()[0] as usize - 1] = true;
    }
    assert_eq!(shown, [true; 2]);
    let mut content = Content::new(SECTOR);
    write(&mut content, 0, bytes(SECTOR, 2));
    content.killed(&mut Rng::new(1));
    assert_eq!(content.bytes(), bytes(SECTOR, 2), "a kill alone takes nothing");
}

#[test]
fn garbage_only_where_nothing_was_ever_written() {
    let mut garbage = false;
    for seed in 0..50 {
        let mut rng = Rng::new(seed);
        let mut content = Content::new(SECTOR);
        write(&mut content, 0, bytes(SECTOR, 1));
        sync(&mut content);
        write(&mut content, 0, bytes(3 * SECTOR, 2));
        content.power_cut(&mut rng, 1.0);
        assert!(content.bytes[..SECTOR].iter().all(|b| *b == content.bytes[0]));
        garbage |= content.bytes[SECTOR..].iter().any(|b| *b != 0 && *b != 2);
    }
    assert!(garbage);
}

#[test]
fn flips_reach_the_disk() {
    let mut content = Content::new(SECTOR);
    write(&mut content, 0, bytes(10, 0));
    sync(&mut content);
    write(&mut content, 5, bytes(1, 0));
    assert!(content.flip(3, 4) && !content.flip(10, 4));
    assert_eq!(content.bytes()[3], 4);
    content.power_cut(&mut Rng::new(1), 0.0);
    assert_eq!(content.bytes()[3], 4);
}

#[test]
fn many_versions_of_one_sector_stay_bounded() {
    let mut content = Content::new(SECTOR);
    for at in 0..10_000 {
        write(&mut content, at, bytes(1, 7));
    }
    assert!(content.dirty.values().all(|dirty| dirty.superseded.len() <= VERSIONS));
    assert!(content.lengths.len() <= LENGTHS);
}

/// Random operations against a model that knows, for each byte, which values a power cut may leave.
#[test]
fn every_surviving_byte_was_once_written_there() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut content = Content::new(SECTOR);
        // Per byte: the durable value and everything written since.
        let mut allowed: Vec<Vec<u8>> = vec![vec![0]; 16 * SECTOR];
        for round in 1..40u8 {
            let offset = rng.below(12 * SECTOR as u64);
            let len = rng.within(1..=3 * SECTOR as u64);
            write(&mut content, offset, bytes(len as usize, round));
            allowed[offset as usize..(offset + len) as usize]
                .iter_mut()
                .for_each(|values| values.push(round));
            if rng.chance(0.2) {
                sync(&mut content);
                allowed.iter_mut().for_each(|values| drop(values.drain(..values.len() - 1)));
            }
        }
        content.power_cut(&mut rng, 0.0);
        let strange = content.bytes.iter().zip(&allowed).position(|(byte, values)| !values.contains(byte));
        assert_eq!(strange, None, "seed {seed}");
    }
}
