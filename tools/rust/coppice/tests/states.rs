// SPDX-License-Identifier: LGPL-2.1-or-later
//! Stores and states, and how long handles live.
mod scratch;

use coppice::*;
use scratch::{get, put, Scratch};
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn names(infos: Vec<Info>) -> Vec<String> {
    infos.into_iter().map(|i| i.name.into_string().unwrap()).collect()
}

#[test]
fn forks_and_snapshots_are_made_and_listed() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();

    put(&store, &main, "key", "old");
    store.snapshot("main", "one").unwrap();
    put(&store, &main, "key", "new");
    store.fork("main~one", "try").unwrap();
    store.fork_empty("empty").unwrap();
    assert_eq!(get(&store.state("try").unwrap(), "key").unwrap(), "old");
    assert_eq!(get(&store.state("empty").unwrap(), "key"), None);

    let error = store.fork("main", "try").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let other = store.fork_unique("main", "try").unwrap();
    assert_ne!(other, "try");
    assert_eq!(get(&store.state(&other).unwrap(), "key").unwrap(), "new");

    store.remove(&other).unwrap();
    assert_eq!(names(store.forks().unwrap()), ["empty", "main", "try"]);
    assert_eq!(names(store.snapshots("main").unwrap()), ["main~one"]);
    assert!(store.snapshots("try").unwrap().is_empty());
    let error = store.snapshots("none").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);

    let info = store.state("try").unwrap().info().unwrap();
    let one = store.state("main~one").unwrap().info().unwrap();
    assert_eq!(info.origin.unwrap(), "main~one");
    assert_eq!((info.fork, info.read_only), (None, false));
    assert_eq!(one.fork, Some(main.info().unwrap().number));
    assert_eq!((one.files, one.read_only), (2, true));
    assert!(one.bytes >= 3);
    assert!(one.created > SystemTime::now() - Duration::from_secs(3600));
    assert_eq!(store.stats().unwrap().states, 4);
}

#[test]
fn states_are_renamed_swapped_reset_and_removed() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();

    put(&store, &main, "key", "1");
    store.snapshot("main", "one").unwrap();
    store.fork("main", "b").unwrap();
    let b = store.state("b").unwrap();
    put(&store, &b, "key", "2");

    store.swap("main", "b").unwrap();
    assert_eq!(main.info().unwrap().name, "b");
    store.rename("b", "a").unwrap();
    assert_eq!(main.info().unwrap().name, "a");
    store.rename("a~one", "uno").unwrap();
    put(&store, &main, "key", "3");
    store.reset_with_undo("a", "a~uno", "undo").unwrap();
    assert_eq!(get(&main, "key").unwrap(), "1");
    store.reset("a", "a~undo").unwrap();
    assert_eq!(get(&main, "key").unwrap(), "3");

    assert_eq!(store.remove("a").unwrap_err().kind(), ErrorKind::NotEmpty);
    store.remove_all("a").unwrap();
    assert_eq!(main.info().unwrap_err().kind(), ErrorKind::Stale);
    store.reclaim().unwrap();
    assert_eq!(store.stats().unwrap().reclaiming, 0);
}

#[test]
fn old_snapshots_expire_unless_they_are_held() {
    let scratch = Scratch::new();
    let store = scratch.store();

    for slot in 0..10 {
        store.snapshot("main", format!("slot-{slot}")).unwrap();
    }
    store.hold("main~slot-2", "keep").unwrap();
    let error = store.remove("main~slot-2").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);

    let later = SystemTime::now() + Duration::from_secs(3600);
    let long_ago = UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(store.expire("main", long_ago, 0).unwrap(), 0);
    assert_eq!(store.expire("main", later, 3).unwrap(), 6);
    let left = ["main~slot-2", "main~slot-7", "main~slot-8", "main~slot-9"];
    assert_eq!(names(store.snapshots("main").unwrap()), left);
    store.release("main~slot-2", "keep").unwrap();
    assert_eq!(store.expire("main", later, 0).unwrap(), 4);
}

#[test]
fn properties_are_set_and_removed() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let long = "x".repeat(300);

    assert_eq!(store.property("main", "user:note").unwrap(), None);
    store.set("main", "user:note", &long).unwrap();
    assert_eq!(store.property("main", "user:note").unwrap().unwrap(), *long);
    store.unset("main", "user:note").unwrap();
    assert_eq!(store.property("main", "user:note").unwrap(), None);
    let error = store.property("none", "user:note").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn forks_are_joined() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();

    put(&store, &main, "both", "0");
    store.fork("main", "try").unwrap();
    let other = store.state("try").unwrap();
    put(&store, &other, "new", "1");
    assert_eq!(store.join_dry_run("try", "main").unwrap(), Join::Done);
    assert_eq!(get(&main, "new"), None);
    store.join("try", "main", Policy::Refuse).unwrap().into_result().unwrap();
    assert_eq!(get(&main, "new").unwrap(), "1");

    put(&store, &main, "both", "here");
    put(&store, &other, "both", "there");
    let join = store.join("try", "main", Policy::Refuse).unwrap();
    assert!(matches!(join, Join::Conflicts { count: 1, .. }), "{:?}", join);
    let error = join.into_result().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(get(&main, "both").unwrap(), "here");
    let join = store.join("try", "main", Policy::Theirs).unwrap();
    assert_eq!(join, Join::Done);
    assert_eq!(get(&main, "both").unwrap(), "there");
}

fn changed(a: &State, b: &State) -> Vec<(Change, String)> {
    let mut changed = Vec::new();

    let end: ControlFlow<()> = a
        .diff(b, |file| {
            let path = file.path.to_str().unwrap().to_owned();
            changed.push((file.change, path));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(end, ControlFlow::Continue(()));
    changed.retain(|change| !change.1.is_empty()); // the root
    changed.sort_by(|x, y| x.1.cmp(&y.1));
    changed
}

#[test]
fn states_are_compared() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();
    let mut batch = store.batch().unwrap();

    for key in ["a", "b", "c", "d"] {
        put(&store, &main, key, "0");
    }
    store.snapshot("main", "before").unwrap();
    let before = store.state("main~before").unwrap();
    batch.put(&main, "a", "longer", Flags::NONE).unwrap();
    batch.delete(&main, "b", Flags::NONE).unwrap();
    batch.rename(&main, "c", "z", Flags::NONE).unwrap();
    batch.put(&main, "e", "", Flags::NONE).unwrap();
    batch.commit(Commit::BUFFERED).unwrap();

    let change = |change, path: &str| (change, path.to_owned());
    assert_eq!(
        changed(&before, &main),
        [
            change(Change::Modified, "a"),
            change(Change::Removed, "b"),
            change(Change::Added, "e"),
            change(Change::Renamed, "z"),
        ]
    );
    assert!(changed(&main, &main).is_empty());
    let from = before.diff(&main, |file| match file.from {
        Some(from) => ControlFlow::Break(from.to_owned()),
        None => ControlFlow::Continue(()),
    });
    assert_eq!(from.unwrap(), ControlFlow::Break("c".into()));
}

#[test]
fn a_closure_may_panic_and_call_the_library() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();

    store.snapshot("main", "before").unwrap();
    put(&store, &main, "key", "value");
    let before = store.state("main~before").unwrap();
    let panic = std::panic::catch_unwind(|| {
        let _ = before.diff::<(), _>(&main, |file| {
            assert_eq!(file.path.to_str(), Some("nowhere"));
            ControlFlow::Continue(())
        });
    });
    assert!(panic.is_err());

    let value = before.diff(&main, |file| {
        if file.file_type != FileType::File {
            return ControlFlow::Continue(());
        }
        put(&store, &main, "other", "written meanwhile");
        ControlFlow::Break(get(&main, file.path))
    });
    let value = value.unwrap();
    assert_eq!(value, ControlFlow::Break(Some("value".to_owned())));
    assert_eq!(get(&main, "other").unwrap(), "written meanwhile");
}

#[test]
fn handles_keep_their_store_open() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();
    let mut batch = store.batch().unwrap();

    batch.put(&main, "key", "value", Flags::NONE).unwrap();
    store.clone().close().unwrap();
    store.close().unwrap();
    let error = Store::open(scratch.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{}", error);
    batch.commit(Commit::BUFFERED).unwrap();
    assert_eq!(get(&main, "key").unwrap(), "value");
    drop(batch);
    drop(main.clone());
    drop(main);

    let store = Store::open(scratch.path()).unwrap();
    let main = store.state("main").unwrap();
    assert_eq!(get(&main, "key").unwrap(), "value");
}

#[test]
fn a_store_can_be_opened_read_only() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let long = "long".repeat(10_000);

    put(&store, &store.state("main").unwrap(), "key", &long);
    store.close().unwrap();
    let mut options = Options::new();
    let store = options.read_only(true).memory(64 << 20).open(scratch.path());
    let store = store.unwrap();
    let main = store.state("main").unwrap();
    assert_eq!(get(&main, "key").unwrap(), long);
    assert_eq!(store.batch().unwrap_err().kind(), ErrorKind::ReadOnly);
    let error = main.diff::<(), _>(&main, |_| ControlFlow::Continue(()));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);

    drop((main, store));
    let nowhere = scratch.path().join("nowhere");
    let error = Store::open(nowhere).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!error.to_string().is_empty());
}

#[test]
fn the_versions_are_equal() {
    assert_eq!(version(), env!("CARGO_PKG_VERSION"));
}
