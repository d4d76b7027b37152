//! What a power cut may and may not do to names, over many seeds.

use super::super::super::rng::Rng;
use super::*;

fn path(name: &str) -> &Path {
    Path::new(name)
}

fn create(tree: &mut Tree, name: &str) -> Ino {
    tree.open(path(name), true, 512).unwrap().0
}

fn sync(tree: &mut Tree, name: &str) {
    let ino = tree.find(path(name)).unwrap();
    let point = tree.sync_point(ino).unwrap();
    tree.synced(ino, point).unwrap();
}

fn names(tree: &Tree, dir: &str) -> Vec<String> {
    tree.list(path(dir)).unwrap().into_iter().map(|(name, _)| name).collect()
}

/// Each seed's tree after `make` and a power cut.
fn cuts(make: impl Fn(&mut Tree)) -> Vec<Tree> {
    let cut = |seed| {
        let mut tree = Tree::new();
        make(&mut tree);
        tree.power_cut(&mut Rng::new(seed), 0.0);
        tree
    };
    (0..200).map(cut).collect()
}

#[test]
fn synced_names_survive_and_others_go_in_order() {
    let trees = cuts(|tree| {
        create(tree, "/a");
        sync(tree, "/");
        create(tree, "/b");
        create(tree, "/c");
    });
    let mut seen = std::collections::BTreeSet::new();
    for tree in &trees {
        seen.insert(names(tree, "/").concat());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["a", "ab", "abc"]);
}

#[test]
fn a_removed_name_may_come_back_until_synced() {
    let remove = |tree: &mut Tree| {
        create(tree, "/a");
        sync(tree, "/");
        tree.remove_file(path("/a")).unwrap();
    };
    let back = cuts(remove).iter().filter(|tree| !names(tree, "/").is_empty()).count();
    assert!((1..200).contains(&back), "{back} of 200");
    let synced = cuts(|tree| {
        remove(tree);
        sync(tree, "/");
    });
    assert!(synced.iter().all(|tree| names(tree, "/").is_empty()));
}

#[test]
fn a_rename_is_never_half() {
    let trees = cuts(|tree| {
        create(tree, "/new");
        create(tree, "/old");
        sync(tree, "/");
        tree.rename(path("/new"), path("/old")).unwrap();
    });
    let new = trees[0].find(path("/new")).or(trees[0].find(path("/old"))).unwrap();
    for tree in &trees {
        match names(tree, "/").as_slice() {
            [old] => assert!(old == "old" && tree.find(path("/old")).unwrap() == new),
            two => assert_eq!(two, ["new", "old"]),
        }
    }
    assert!(trees.iter().any(|tree| names(tree, "/").len() == 1));
    assert!(trees.iter().any(|tree| names(tree, "/").len() == 2));
}

#[test]
fn a_rename_across_directories_is_never_half() {
    for synced in [true, false] {
        let trees = cuts(|tree| {
            tree.create_dir_all(path("/a")).unwrap();
            tree.create_dir_all(path("/b")).unwrap();
            sync(tree, "/");
            create(tree, "/a/f");
            if synced {
                sync(tree, "/a");
            }
            tree.rename(path("/a/f"), path("/b/g")).unwrap();
            create(tree, "/a/h");
            sync(tree, "/a");
        });
        let mut moved = 0;
        for tree in &trees {
            let places = [tree.find(path("/a/f")).is_ok(), tree.find(path("/b/g")).is_ok()];
            assert!(places[0] != places[1], "{places:?}: the file is in one place, and never in none");
            assert!(tree.find(path("/a/h")).is_ok());
            moved += usize::from(places[1]);
        }
        assert!((1..200).contains(&moved), "{moved} of 200");
    }
}

#[test]
fn a_move_that_was_synced_leaves_no_copy_behind() {
    let trees = cuts(|tree| {
        tree.create_dir_all(path("/a")).unwrap();
        tree.create_dir_all(path("/b")).unwrap();
        sync(tree, "/");
        create(tree, "/a/f");
        tree.rename(path("/a/f"), path("/b/f")).unwrap();
        sync(tree, "/b");
    });
    assert!(trees.iter().all(|tree| names(tree, "/a").is_empty() && names(tree, "/b") == ["f"]));
}

#[test]
fn a_lost_directory_takes_its_files_along() {
    let trees = cuts(|tree| {
        tree.create_dir_all(path("/d/e")).unwrap();
        create(tree, "/d/e/f");
        sync(tree, "/d/e");
        sync(tree, "/d");
    });
    assert!(trees.iter().any(|tree| names(tree, "/").is_empty()));
    for tree in trees.iter().filter(|tree| !names(tree, "/").is_empty()) {
        assert!(tree.find(path("/d/e/f")).is_ok());
    }
}

#[test]
fn what_nothing_reaches_is_forgotten() {
    let mut tree = Tree::new();
    for round in 0..10_000 {
        create(&mut tree, "/f");
        tree.remove_file(path("/f")).unwrap();
        if round % 100 == 0 {
            sync(&mut tree, "/");
        }
    }
    assert!(tree.nodes.len() < 1000, "{} nodes", tree.nodes.len());
}

#[test]
fn names_are_checked() {
    let mut tree = Tree::new();
    create(&mut tree, "/f");
    tree.create_dir_all(path("/d/e")).unwrap();
    let kind = |result: Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(tree.rename(path("/f"), path("/d"))), ErrorKind::IsADirectory);
    assert_eq!(kind(tree.rename(path("/d"), path("/f"))), ErrorKind::NotADirectory);
    assert_eq!(kind(tree.rename(path("/d"), path("/d/e/x"))), ErrorKind::InvalidInput);
    tree.create_dir_all(path("/x")).unwrap();
    assert_eq!(kind(tree.rename(path("/x"), path("/d"))), ErrorKind::DirectoryNotEmpty);
    tree.rename(path("/d"), path("/x")).unwrap();
    assert!(tree.find(path("/x/e")).is_ok());
    assert_eq!(kind(tree.remove_file(path("/x"))), ErrorKind::IsADirectory);
    assert_eq!(kind(tree.remove_dir_all(path("/f"), usize::MAX)), ErrorKind::NotADirectory);
    assert_eq!(tree.open(path("/f/g"), true, 512).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(kind(tree.create_dir_all(path("/f/g"))), ErrorKind::AlreadyExists);
}

#[test]
fn space_comes_back_with_the_last_holder() {
    let mut tree = Tree::new();
    let ino = create(&mut tree, "/f");
    tree.hold(ino, 0, 3 * 4096).unwrap();
    assert_eq!(tree.spare(Some(10 * 4096)), 7);
    let lease = tree.file(ino).unwrap().lease.clone();
    tree.remove_file(path("/f")).unwrap();
    assert_eq!(tree.spare(Some(10 * 4096)), 7);
    drop(lease);
    assert_eq!(tree.spare(Some(10 * 4096)), 10);
}
