// SPDX-License-Identifier: LGPL-2.1-or-later
//! A state as a key-value store, from the shell. It works beside a mount of the
//! store, whose daemon then makes the changes, and beside other processes.
//!
//!     kv STORE STATE get KEY
//!     kv STORE FORK put KEY VALUE [KEY VALUE]...
//!     kv STORE STATE list [DIRECTORY [PREFIX]]
use coppice::{Commit, Flags, Options, ScanOptions, Store};
use std::env;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn get(store: &Store, state: &str, key: &str) -> Result<()> {
    let value = store.state(state)?.get(key)?;
    let value = value.ok_or_else(|| format!("there is no key '{key}'"))?;

    io::stdout().write_all(&value)?;
    Ok(())
}

/// Put all pairs in one step.
fn put(store: &Store, fork: &str, pairs: &[&str]) -> Result<()> {
    let fork = store.state(fork)?;
    let mut batch = store.batch()?;

    for pair in pairs.chunks_exact(2) {
        batch.put(&fork, pair[0], pair[1], Flags::PARENTS)?;
    }
    batch.commit(Commit::DURABLE)?;
    Ok(())
}

fn list(store: &Store, state: &str, dir: &str, prefix: &str) -> Result<()> {
    let state = store.state(state)?;
    let mut options = ScanOptions::new();
    let mut out = io::stdout().lock();

    for entry in state.scan_with(dir, options.prefix(prefix).sorted(true))? {
        out.write_all(entry?.name.as_bytes())?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn run(args: &[&str]) -> Result<()> {
    let read = |path| Options::new().read_only(true).open(path);

    match *args {
        [path, state, "get", key] => get(&read(path)?, state, key),
        [path, state, "list"] => list(&read(path)?, state, "", ""),
        [path, state, "list", dir] => list(&read(path)?, state, dir, ""),
        [path, state, "list", dir, prefix] => {
            list(&read(path)?, state, dir, prefix)
        }
        [path, fork, "put", ref pairs @ ..]
            if !pairs.is_empty() && pairs.len() % 2 == 0 =>
        {
            let store = Store::open(path)?;

            put(&store, fork, pairs)?;
            Ok(store.close()?)
        }
        _ => Err("usage: kv STORE STATE get|put|list ARGUMENTS".into()),
    }
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();

    if let Err(error) = run(&args) {
        eprintln!("kv: {error}");
        std::process::exit(1);
    }
}
