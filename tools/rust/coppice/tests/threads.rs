// SPDX-License-Identifier: LGPL-2.1-or-later
//! Handles in several threads and processes.
mod scratch;

use coppice::*;
use scratch::{get, Scratch};
use std::os::raw::c_int;
use std::os::unix::io::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn handles_go_where_the_header_allows() {
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}

    shared::<Store>();
    shared::<State>();
    shared::<Error>();
    shared::<Options>();
    sent::<Batch>();
    sent::<Scan>();
}

/// Read both keys at one instant, and return them.
fn read_both(state: &State) -> [Vec<u8>; 2] {
    let mut buffers = [[0; 32]; 2];
    let [a, b] = &mut buffers;
    let mut reads =
        [Read::new("a/key", 0, a).unwrap(), Read::new("b/key", 0, b).unwrap()];

    state.read_many(&mut reads).unwrap();
    reads.map(|read| read.bytes().unwrap().unwrap().to_vec())
}

#[test]
fn readers_see_a_batch_whole() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();
    let mut batch = store.batch().unwrap();
    let done = AtomicBool::new(false);
    let mut write = |round: u32| {
        let value = round.to_string();

        for key in ["a/key", "b/key"] {
            batch.put(&main, key, &value, Flags::PARENTS).unwrap();
        }
        batch.commit(Commit::BUFFERED).unwrap();
    };

    write(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let [a, b] = read_both(&main);
                    assert_eq!(a, b);
                }
            });
        }
        for round in 1..200 {
            write(round);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(get(&main, "a/key").unwrap(), "199");
}

#[test]
fn a_batch_can_be_filled_by_one_thread_and_committed_by_another() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();
    let mut batch = store.batch().unwrap();
    let fork = main.clone();
    let filled = thread::spawn(move || {
        batch.put(&fork, "key", "value", Flags::NONE).unwrap();
        batch
    });

    filled.join().unwrap().commit(Commit::BUFFERED).unwrap();
    assert_eq!(get(&main, "key").unwrap(), "value");
}

extern "C" {
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn _exit(status: c_int) -> !;
}

/// Run a function in a child process, and return whether it was true there.
fn in_child(function: impl FnOnce() -> bool) -> bool {
    let mut status = 0;

    unsafe {
        let pid = fork();

        if pid == 0 {
            _exit(if function() { 0 } else { 1 });
        }
        assert!(pid > 0);
        assert_eq!(waitpid(pid, &mut status, 0), pid);
    }
    status == 0
}

#[test]
fn a_forked_process_cannot_use_the_handles() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();
    let mut batch = store.batch().unwrap();
    let forked = |error: Error| error.kind() == ErrorKind::Forked;

    assert!(in_child(|| {
        batch.put(&main, "key", "value", Flags::NONE).map_err(forked)
            == Err(true)
            && batch.commit(Commit::BUFFERED).map_err(forked) == Err(true)
            && main.get("key").map_err(forked) == Err(true)
            && store.state("main").map(drop).map_err(forked) == Err(true)
            && store.sync().map_err(forked) == Err(true)
    }));
    // Handles that the child drops are still the parent's.
    assert!(in_child({
        let handles = (store.clone(), main.clone());
        move || {
            drop(handles);
            true
        }
    }));
    assert!(main.get("key").unwrap().is_none());
    drop((main, batch));
    store.close().unwrap();
}

#[test]
fn another_process_reads_beside_the_writer() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let main = store.state("main").unwrap();
    let long = "long".repeat(100_000);
    let mut batch = store.batch().unwrap();

    batch.put(&main, "key", "value", Flags::NONE).unwrap();
    batch.put(&main, "long", &long, Flags::NONE).unwrap();
    batch.commit(Commit::DURABLE.snapshot("slot")).unwrap();
    assert!(in_child(|| {
        let read = || -> Result<bool> {
            let mut options = Options::new();
            let store = options.read_only(true).open(scratch.path())?;
            let slot = store.state("main~slot")?;
            let value = store.state("main")?.get("key")?;

            Ok(value.as_deref() == Some(b"value")
                && slot.get("long")?.as_deref() == Some(long.as_bytes())
                && store.batch().unwrap_err().kind() == ErrorKind::ReadOnly)
        };

        read() == Ok(true)
    }));
}

#[test]
fn one_process_writes() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let who = format!("process {} (", std::process::id());

    assert!(in_child(|| {
        let error = Store::open(scratch.path()).unwrap_err();
        let message = error.to_string();

        error.kind() == ErrorKind::Busy
            && message.contains(&who)
            && message.contains("for several to write, mount it first")
    }));
    drop(store);
}

#[test]
fn changes_are_events() {
    let scratch = Scratch::new();
    let store = scratch.store();

    assert!(store.event_fd().unwrap().as_raw_fd() >= 0);
    assert_eq!(store.event_clear(), Ok(false));
    store.snapshot("main", "slot").unwrap();
    assert_eq!(store.event_clear(), Ok(true));
    assert_eq!(store.event_clear(), Ok(false));
}
