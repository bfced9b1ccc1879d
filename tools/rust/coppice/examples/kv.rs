// SPDX-License-Identifier: LGPL-2.1-or-later
//! A key-value store with revisions: each is a snapshot; work is done in a
//! fork, and its keys are joined back. The program works beside a mount of the
//! store, whose daemon then makes the changes, and beside other processes that
//! read.
//!
//!     kv STORE                   make revisions, forks and joins, and check them
//!     kv STORE get STATE KEY     print a value: of main, or main~REVISION
//!     kv STORE put FORK KEY VALUE [KEY VALUE]...
//!     kv STORE list STATE [DIRECTORY [PREFIX]]
//!     kv STORE revisions FORK KEY
//!     kv STORE ancestors STATE
use coppice::*;
use std::collections::BTreeMap;
use std::env;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

const USAGE: &str = "usage: kv STORE [VERB STATE [KEY [VALUE]...]]";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A revision, and the value that it gave a key; None: it removed the key.
type Revision = (String, Option<String>);

fn get(store: &Store, state: &str, key: &str) -> Result<Option<String>> {
    let value = store.state(state)?.get(key)?;

    Ok(value.map(String::from_utf8).transpose()?)
}

/// Put all pairs in one durable step, as a revision of that name; a value that
/// is None removes the key.
fn put(
    store: &Store,
    fork: &str,
    revision: Option<&str>,
    pairs: &[(&str, Option<&str>)],
) -> Result<()> {
    let fork = store.state(fork)?;
    let mut batch = store.batch()?;

    for (key, value) in pairs {
        match value {
            Some(value) => batch.put(&fork, key, value, Flags::PARENTS)?,
            None => batch.delete(&fork, key, Flags::LENIENT)?,
        }
    }
    match revision {
        Some(name) => batch.commit(Commit::DURABLE.snapshot(name))?,
        None => batch.commit(Commit::DURABLE)?,
    }
    Ok(())
}

/// Print the names in a directory that begin with a prefix.
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

/// Return all keys of a state with their values.
fn all(store: &Store, state: &str) -> Result<BTreeMap<String, String>> {
    let state = store.state(state)?;
    let mut dirs = vec![String::new()];
    let mut found = BTreeMap::new();

    while let Some(dir) = dirs.pop() {
        for entry in state.scan(&dir)? {
            let entry = entry?;
            let name = entry.name.to_str().ok_or("a key is not UTF-8")?;
            let key = format!("{dir}/{name}").trim_matches('/').to_owned();

            if entry.file_type == FileType::Directory {
                dirs.push(key);
            } else if let Some(value) = state.get(&key)? {
                found.insert(key, String::from_utf8(value)?);
            }
        }
    }
    Ok(found)
}

/// Return the revisions of a fork that changed a key, the oldest first.
fn revisions(store: &Store, fork: &str, key: &str) -> Result<Vec<Revision>> {
    let mut infos = store.snapshots(fork)?;
    let mut found: Vec<Revision> = Vec::new();

    infos.sort_by_key(|info| info.number);
    for info in infos {
        let name = info.name.to_str().ok_or("a name is not UTF-8")?;
        let value = get(store, name, key)?;
        let last = found.last().and_then(|(_, value)| value.as_ref());

        if value.as_ref() != last {
            let revision = name.rsplit('~').next().unwrap_or(name);
            found.push((revision.to_owned(), value));
        }
    }
    Ok(found)
}

/// Return the names of the states that a state grew from, its parent first.
fn ancestors(store: &Store, state: &str) -> Result<Vec<String>> {
    let mut name = store.state(state)?.info()?.origin;
    let mut names = Vec::new();

    while let Some(origin) = name {
        names.push(origin.to_string_lossy().into_owned());
        name = match store.state(&origin) {
            Ok(state) => state.info()?.origin,
            Err(e) if e.kind() == ErrorKind::NotFound => None, // deleted
            Err(e) => return Err(e.into()),
        };
    }
    Ok(names)
}

/// Return the keys that differ between two states.
fn compare(store: &Store, a: &str, b: &str) -> Result<Vec<String>> {
    let mut keys = Vec::new();

    let _: ControlFlow<()> =
        store.state(a)?.diff(&store.state(b)?, |what| {
            if what.file_type == FileType::File {
                keys.push(what.path.to_string_lossy().into_owned());
            }
            ControlFlow::Continue(())
        })?;
    keys.sort();
    Ok(keys)
}

// ---- A demonstration -----------------------------------------------------

fn revisions_make(store: &Store) -> Result<()> {
    let first = [
        ("user/ann", Some("1")),
        ("user/bob", Some("1")),
        ("limit", Some("5")),
    ];

    put(store, "main", Some("r1"), &first)?;
    put(store, "main", Some("r2"), &[("user/bob", Some("2"))])?;
    put(store, "main", Some("r3"), &[("limit", Some("6"))])?;
    assert_eq!(get(store, "main~r1", "user/bob")?.as_deref(), Some("1"));
    assert_eq!(get(store, "main", "user/eve")?, None);
    assert_eq!(compare(store, "main~r1", "main~r2")?, ["user/bob"]);

    let bob = revisions(store, "main", "user/bob")?;
    let revision = |name: &str, value: &str| (name.into(), Some(value.into()));
    assert_eq!(bob, [revision("r1", "1"), revision("r2", "2")]);
    Ok(())
}

fn forks_join(store: &Store) -> Result<()> {
    // Two branches change different keys; both changes are joined.
    store.fork("main", "trial")?;
    store.fork("trial", "again")?;
    assert_eq!(ancestors(store, "again")?, ["trial", "main"]);
    put(store, "trial", None, &[("user/carl", Some("1")), ("user/ann", None)])?;
    put(store, "main", None, &[("limit", Some("7"))])?;
    store.join("trial", "main", Policy::Refuse)?.into_result()?;

    let joined = [("limit", "7"), ("user/bob", "2"), ("user/carl", "1")];
    let joined = joined.map(|(key, value)| (key.into(), value.into()));
    assert_eq!(all(store, "main")?, BTreeMap::from(joined));

    // The same key on both sides is a conflict, which changes nothing.
    put(store, "again", None, &[("limit", Some("8"))])?;
    put(store, "main", None, &[("limit", Some("9"))])?;
    let join = store.join("again", "main", Policy::Refuse)?;
    assert!(matches!(join, Join::Conflicts { count: 1, .. }), "{join:?}");
    assert_eq!(get(store, "main", "limit")?.as_deref(), Some("9"));
    assert_eq!(store.join("again", "main", Policy::Theirs)?, Join::Done);
    assert_eq!(get(store, "main", "limit")?.as_deref(), Some("8"));
    store.snapshot("main", "r4")?;
    store.remove("again")?;
    store.remove("trial")?;
    Ok(())
}

// ---- From the shell ------------------------------------------------------

fn read(store: &Store, args: &[&str]) -> Result<()> {
    match *args {
        ["get", state, key] => {
            let value = get(store, state, key)?;
            let value = value.ok_or_else(|| format!("no key '{key}'"))?;

            println!("{value}");
        }
        ["list", state] => list(store, state, "", "")?,
        ["list", state, dir] => list(store, state, dir, "")?,
        ["list", state, dir, prefix] => list(store, state, dir, prefix)?,
        ["revisions", fork, key] => {
            for (revision, value) in revisions(store, fork, key)? {
                println!("{revision}\t{}", value.as_deref().unwrap_or("-"));
            }
        }
        ["ancestors", state] => {
            for name in ancestors(store, state)? {
                println!("{name}");
            }
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

fn run(args: &[&str]) -> Result<()> {
    match *args {
        [path] => {
            let store = Store::create(path)?;

            revisions_make(&store)?;
            forks_join(&store)?;
            Ok(store.close()?)
        }
        [path, "put", fork, ref pairs @ ..]
            if !pairs.is_empty() && pairs.len() % 2 == 0 =>
        {
            let store = Store::create(path)?;
            let pairs: Vec<_> = pairs
                .chunks_exact(2)
                .map(|pair| (pair[0], Some(pair[1])))
                .collect();

            put(&store, fork, None, &pairs)?;
            Ok(store.close()?)
        }
        [path, ref verb @ ..] => {
            read(&Options::new().read_only(true).open(path)?, verb)
        }
        [] => Err(USAGE.into()),
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
