// SPDX-License-Identifier: LGPL-2.1-or-later
//! A directory for the store of a test.
#![allow(dead_code)] // not every test uses all of it
use coppice::{Commit, Flags, State, Store};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    pub fn new() -> Scratch {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("coppice-rust-{}-{}", process::id(), number);
        let dir = env::temp_dir().join(name);

        fs::create_dir(&dir).unwrap();
        Scratch { dir }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.join("store")
    }

    pub fn store(&self) -> Store {
        Store::create(self.path()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Put one value in a separate batch.
pub fn put(store: &Store, fork: &State, path: impl AsRef<Path>, value: &str) {
    let mut batch = store.batch().unwrap();

    batch.put(fork, path, value, Flags::PARENTS).unwrap();
    batch.commit(Commit::BUFFERED).unwrap();
}

/// Return a value that must be text.
pub fn get(state: &State, path: impl AsRef<Path>) -> Option<String> {
    let value = state.get(path).unwrap();

    value.map(|value| String::from_utf8(value).unwrap())
}
