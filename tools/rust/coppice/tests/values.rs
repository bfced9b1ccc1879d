// SPDX-License-Identifier: LGPL-2.1-or-later
//! Batches, and reads of their changes.
mod scratch;

use coppice::*;
use scratch::{get, put, Scratch};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

#[test]
fn changes_are_made_at_the_commit() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();
    let mut batch = store.batch().unwrap();

    batch.put(&main, "a/b/one", "1", Flags::PARENTS).unwrap();
    batch.put(&main, "a/b/two", "2", Flags::NONE).unwrap();
    batch.mkdir(&main, "dir", Flags::NONE).unwrap();
    assert_eq!(get(&main, "a/b/one"), None);
    batch.commit(Commit::BUFFERED).unwrap();
    assert_eq!(get(&main, "a/b/one").unwrap(), "1");

    batch.rename(&main, "a/b/one", "dir/uno", Flags::NONE).unwrap();
    batch.delete(&main, "a", Flags::RECURSIVE).unwrap();
    batch.delete(&main, "none", Flags::LENIENT | Flags::RECURSIVE).unwrap();
    batch.commit(Commit::DURABLE.snapshot("after")).unwrap();
    assert_eq!(get(&main, "dir/uno").unwrap(), "1");
    assert!(main.stat("a").unwrap().is_none());
    assert_eq!(
        get(&store.state("main~after").unwrap(), "dir/uno").unwrap(),
        "1"
    );
}

#[test]
fn a_batch_that_fails_or_is_dropped_changes_nothing() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();
    let mut batch = store.batch().unwrap();

    batch.put(&main, "good", "1", Flags::NONE).unwrap();
    batch.put(&main, "no/such/dir", "2", Flags::NONE).unwrap();
    let error = batch.commit(Commit::BUFFERED).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("no/such/dir"), "{}", error);
    drop(batch);
    assert_eq!(get(&main, "good"), None);
}

#[test]
fn a_batch_changes_several_forks_and_gives_attributes() {
    let scratch = Scratch::new();
    let store = scratch.store();

    store.fork("main", "other").unwrap();
    let states = ["main", "other"].map(|name| store.state(name).unwrap());
    let mut batch = store.batch().unwrap();

    batch.attributes(0, 0, 0o600, 0o700).unwrap_or(());
    for state in &states {
        batch.put(state, "d/f", "both", Flags::PARENTS).unwrap();
    }
    batch.commit(Commit::BUFFERED.snapshot("both")).unwrap();
    for name in ["main~both", "other~both"] {
        let state = store.state(name).unwrap();
        assert_eq!(get(&state, "d/f").unwrap(), "both");
        assert_eq!(state.stat("d/f").unwrap().unwrap().mode & 0o7777, 0o600);
        assert_eq!(state.stat("d").unwrap().unwrap().mode & 0o7777, 0o700);
    }
}

#[test]
fn values_of_all_lengths_are_read_whole() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();
    let mut batch = store.batch().unwrap();
    let mut buffer = Vec::new();

    for len in [0, 1, 4095, 4096, 4097, 70_000, 5_000_000] {
        let value: Vec<u8> =
            (0..len).map(|i: u32| (i * 7 + len) as u8).collect();
        let path = format!("value-{len}");

        batch.put(&main, &path, &value, Flags::NONE).unwrap();
        batch.commit(Commit::BUFFERED).unwrap();
        assert!(main.get(&path).unwrap().unwrap() == value, "{len}");
        assert!(main.get_into(&path, &mut buffer).unwrap());
        assert!(buffer == value, "{len}");
        let stat = main.stat(&path).unwrap().unwrap();
        assert_eq!((stat.bytes, stat.file_type), (len.into(), FileType::File));
    }
    assert!(!main.get_into("none", &mut buffer).unwrap());
    assert!(buffer.is_empty());

    let mut part = [0; 10];
    assert_eq!(main.read_at("value-4096", 4090, &mut part).unwrap(), 6);
    assert_eq!(main.read_at("value-1", 5, &mut part).unwrap(), 0);
}

#[test]
fn many_reads_have_results_of_their_own() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();
    let mut buffers = [[0; 8]; 4];

    put(&store, &main, "a", "first");
    put(&store, &main, "d/b", "second value");
    let paths = ["a", "none", "d", "d/b"];
    let mut reads: Vec<Read> = paths
        .iter()
        .zip(&mut buffers)
        .map(|(path, buffer)| Read::new(path, 1, buffer).unwrap())
        .collect();

    main.read_many(&mut reads).unwrap();
    assert_eq!(reads[0].bytes().unwrap().unwrap(), b"irst");
    assert_eq!(reads[1].bytes().unwrap(), None);
    let error = reads[2].bytes().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IsADirectory);
    assert_eq!(reads[3].bytes().unwrap().unwrap(), b"econd va");
}

fn names(scan: Scan) -> Vec<String> {
    scan.map(|entry| entry.unwrap().name.into_string().unwrap()).collect()
}

#[test]
fn directories_are_scanned() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();
    let mut batch = store.batch().unwrap();

    for i in 0..1000 {
        batch.put(&main, format!("d/k{i}"), "", Flags::PARENTS).unwrap();
    }
    batch.mkdir(&main, "d/sub", Flags::NONE).unwrap();
    batch.commit(Commit::BUFFERED).unwrap();

    let mut all = names(main.scan("d").unwrap());
    assert_eq!(all.len(), 1001);
    all.sort();
    let sorted = main.scan_with("d", ScanOptions::new().sorted(true)).unwrap();
    assert_eq!(names(sorted), all);

    let mut options = ScanOptions::new();
    let some = main.scan_with("d", options.prefix("k99").sorted(true)).unwrap();
    drop(main); // the scan has it
    drop(store);
    assert_eq!(names(some)[..3], ["k99", "k990", "k991"]);
}

#[test]
fn entries_have_types_and_errors_are_told() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();

    put(&store, &main, "d/f", "");
    let entry = main.scan("").unwrap().next().unwrap().unwrap();
    assert_eq!(entry.file_type, FileType::Directory);
    assert_eq!(entry.number, main.stat("d").unwrap().unwrap().number);

    assert_eq!(main.scan("d/f").unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(main.scan("none").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(main.get("d").unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(main.get("d/f/x").unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(main.get("a\0b").unwrap_err().kind(), ErrorKind::InvalidInput);

    store.fork("main", "gone").unwrap();
    let gone = store.state("gone").unwrap();
    store.remove("gone").unwrap();
    let error = gone.get("d/f").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
    let io: io::Error = error.clone().into();
    assert_eq!(io.to_string(), error.to_string());

    store.snapshot("main", "fixed").unwrap();
    let fixed = store.state("main~fixed").unwrap();
    let mut batch = store.batch().unwrap();
    let error = batch.put(&fixed, "d/f", "", Flags::NONE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
}

#[test]
fn paths_are_bytes_of_any_length() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();
    let raw = OsStr::from_bytes(b"not \xff text");
    let long = ["n".repeat(200), "m".repeat(200)].join("/");

    put(&store, &main, raw, "1");
    put(&store, &main, &long, "2");
    assert_eq!(get(&main, raw).unwrap(), "1");
    assert_eq!(get(&main, &long).unwrap(), "2");
    let entry = main.scan("").unwrap().map(Result::unwrap);
    assert!(entry.map(|e| e.name).any(|name| name == raw));
}

#[test]
fn times_are_those_of_the_clock() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();
    // Files have the time of the kernel's last tick.
    let before = SystemTime::now() - Duration::from_secs(1);

    put(&store, &main, "f", "");
    let stat = main.stat("f").unwrap().unwrap();
    for time in [stat.modified, stat.changed, stat.born] {
        assert!(time >= before && time <= SystemTime::now());
    }
}
