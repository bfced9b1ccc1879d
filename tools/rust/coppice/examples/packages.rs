// SPDX-License-Identifier: LGPL-2.1-or-later
//! The states of a package manager: install, try, switch, go back, search,
//! expire.
//!
//!     packages STORE             run some transactions and check them
//!     packages STORE list        print the states that are kept
//!
//! Each state of the system is a snapshot of the fork `system`. Its record lies
//! in the state itself, in `.state`: number, name, description, type, time, and
//! the packages with the reason why each is installed. The fork `cache` has one
//! directory for each package, with the package's files where the system has
//! them: its layout. The store keeps equal contents once, those of the cache
//! and of all states.
use coppice::*;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ops::ControlFlow;
use std::time::{SystemTime, UNIX_EPOCH};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const RECORD: &str = ".state";

// ---- Records -------------------------------------------------------------

/// The properties of a state.
#[derive(Clone, Default)]
struct Record {
    number: u32,
    name: String,
    description: String,
    kind: String,
    time: u64,                          // seconds since 1970
    packages: BTreeMap<String, String>, // and the reasons
}

impl Record {
    /// Read a record: lines of a key, a space and a value.
    fn parse(text: &str) -> Result<Record> {
        let mut record = Record::default();

        for line in text.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            let text = value.to_owned();

            match key {
                "number" => record.number = value.parse()?,
                "name" => record.name = text,
                "description" => record.description = text,
                "type" => record.kind = text,
                "time" => record.time = value.parse()?,
                "package" => {
                    let (name, reason) =
                        value.split_once(' ').ok_or("a record is damaged")?;
                    record.packages.insert(name.into(), reason.into());
                }
                _ => return Err("a record is damaged".into()),
            }
        }
        Ok(record)
    }

    fn to_text(&self) -> String {
        let mut text = format!(
            "number {}\nname {}\ndescription {}\ntype {}\ntime {}\n",
            self.number, self.name, self.description, self.kind, self.time
        );

        for (name, reason) in &self.packages {
            text += &format!("package {name} {reason}\n");
        }
        text
    }

    fn has(&self, text: &str) -> bool {
        self.to_text().contains(text)
    }
}

/// The files to be changed, and the reason.
struct Transaction<'a> {
    name: &'a str,
    description: &'a str,
    install: &'a [(&'a str, &'a str)], // packages and reasons
    remove: &'a [&'a str],
}

// ---- The system ----------------------------------------------------------

struct System {
    store: Store,
    fork: State,
    cache: State,
}

impl System {
    fn open(store: Store) -> Result<System> {
        for name in ["system", "cache"] {
            match store.fork_empty(name) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                    return Err(e.into())
                }
                _ => (),
            }
        }
        Ok(System {
            fork: store.state("system")?,
            cache: store.state("cache")?,
            store,
        })
    }

    /// Bring a package to the cache, if it is not there.
    fn fetch(&self, package: &str, files: &[(&str, &str)]) -> Result<()> {
        let mut batch = self.store.batch()?;

        if self.cache.stat(package)?.is_some() {
            return Ok(());
        }
        for (path, content) in files {
            let path = format!("{package}/{path}");
            batch.put(&self.cache, path, content, Flags::PARENTS)?;
        }
        Ok(batch.commit(Commit::BUFFERED)?)
    }

    /// Return the paths of a package's files.
    fn layout(&self, package: &str) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        let mut dirs = vec![package.to_owned()];

        while let Some(dir) = dirs.pop() {
            for entry in self.cache.scan(&dir)? {
                let entry = entry?;
                let name = entry.name.to_str().ok_or("not UTF-8")?;
                let path = format!("{dir}/{name}");

                if entry.file_type == FileType::Directory {
                    dirs.push(path);
                } else {
                    paths.push(path[package.len() + 1..].to_owned());
                }
            }
        }
        Ok(paths)
    }

    /// Return the record in a state, or None if the state is empty.
    fn record(&self, state: &State) -> Result<Option<Record>> {
        match state.get(RECORD)? {
            Some(text) => Ok(Some(Record::parse(&String::from_utf8(text)?)?)),
            None => Ok(None),
        }
    }

    /// Return the records of all states, the oldest first.
    fn states(&self) -> Result<Vec<Record>> {
        let mut records = Vec::new();

        for info in self.store.snapshots("system")? {
            records.extend(self.record(&self.store.state(&info.name)?)?);
        }
        records.sort_by_key(|record| record.number);
        Ok(records)
    }

    /// Prepare a change of a fork. Return it and the number of its state.
    fn prepare(
        &self,
        fork: &State,
        change: &Transaction,
    ) -> Result<(Batch, u32)> {
        let mut batch = self.store.batch()?;
        let last = self.record(fork)?;
        let kind = if last.is_none() { "initial" } else { "transaction" };
        let newest = self.states()?.last().map_or(0, |record| record.number);
        let mut packages = last.unwrap_or_default().packages;

        for package in change.remove {
            packages.remove(*package).ok_or("a package is not installed")?;
            for path in self.layout(package)? {
                batch.delete(fork, path, Flags::NONE)?;
            }
        }
        for (package, reason) in change.install {
            for path in self.layout(package)? {
                let content = self.cache.get(format!("{package}/{path}"))?;
                let content = content.ok_or("a file is missing")?;

                batch.put(fork, path, content, Flags::PARENTS)?;
            }
            packages.insert((*package).into(), (*reason).into());
        }
        let record = Record {
            number: newest + 1,
            name: change.name.into(),
            description: change.description.into(),
            kind: kind.into(),
            time: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
            packages,
        };

        batch.put(fork, RECORD, record.to_text(), Flags::NONE)?;
        Ok((batch, record.number))
    }

    /// Change the system in one step, and keep the state. Return its number.
    fn change(&self, change: &Transaction) -> Result<u32> {
        let (mut batch, number) = self.prepare(&self.fork, change)?;

        batch.commit(Commit::DURABLE.snapshot(&number.to_string()))?;
        Ok(number)
    }

    /// Make a change in a fork, which is returned; the system stays as it is.
    fn try_out(&self, change: &Transaction) -> Result<State> {
        let name = self.store.fork_unique("system", "trial")?;
        let trial = self.store.state(name)?;
        let (mut batch, _) = self.prepare(&trial, change)?;

        batch.commit(Commit::BUFFERED)?;
        Ok(trial)
    }

    /// Switch to a trial fork in one step, and keep the state.
    fn switch(&self, trial: State) -> Result<u32> {
        let name = trial.info()?.name;
        let record = self.record(&trial)?.ok_or("the fork is empty")?;

        self.store.reset("system", &name)?;
        self.store.snapshot("system", record.number.to_string())?;
        self.store.remove(&name)?;
        self.store.sync()?;
        Ok(record.number)
    }

    /// Give the system the content of an earlier state, in one step.
    fn go_back(&self, number: u32) -> Result<()> {
        self.store.reset("system", format!("system~{number}"))?;
        Ok(self.store.sync()?)
    }

    /// Return the files that differ between two states.
    fn compare(&self, a: u32, b: u32) -> Result<Vec<(String, Change)>> {
        let [a, b] = [a, b].map(|n| self.store.state(format!("system~{n}")));
        let mut files = Vec::new();

        let _: ControlFlow<()> = a?.diff(&b?, |what| {
            let path = what.path.to_string_lossy().into_owned();

            if what.file_type == FileType::File && path != RECORD {
                files.push((path, what.change));
            }
            ControlFlow::Continue(())
        })?;
        files.sort_by(|x, y| x.0.cmp(&y.0));
        Ok(files)
    }

    /// Return the numbers of the states with a text in their records.
    fn search(&self, text: &str) -> Result<Vec<u32>> {
        let found = self.states()?.into_iter().filter(|r| r.has(text));

        Ok(found.map(|record| record.number).collect())
    }

    /// Delete all but the newest transactions; states that are pinned stay.
    fn expire(&self, keep: usize) -> Result<Vec<u32>> {
        let mut old = self.states()?;
        let mut gone = Vec::new();

        old.retain(|record| record.kind == "transaction");
        old.truncate(old.len().saturating_sub(keep));
        for Record { number, .. } in old {
            match self.store.remove(format!("system~{number}")) {
                Ok(()) => gone.push(number),
                Err(e) if e.kind() == ErrorKind::Busy => (),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(gone)
    }

    /// Delete the packages of the cache that no state has.
    fn clean(&self) -> Result<Vec<String>> {
        let mut records = self.states()?;
        let mut batch = self.store.batch()?;
        let mut gone = Vec::new();

        records.extend(self.record(&self.fork)?);
        let used: BTreeSet<String> =
            records.into_iter().flat_map(|r| r.packages.into_keys()).collect();
        let mut sorted = ScanOptions::new();

        for entry in self.cache.scan_with("", sorted.sorted(true))? {
            let package = entry?.name.to_string_lossy().into_owned();

            if !used.contains(&package) {
                batch.delete(&self.cache, &package, Flags::RECURSIVE)?;
                gone.push(package);
            }
        }
        batch.commit(Commit::DURABLE)?;
        Ok(gone)
    }

    fn print(&self) -> Result<()> {
        for Record { number, kind, name, description, .. } in self.states()? {
            println!("{number}\t{kind}\t{name}\t{description}");
        }
        Ok(())
    }
}

// ---- A demonstration -----------------------------------------------------

fn shell(version: u32) -> String {
    format!("shell {version} ").repeat(4000)
}

fn text(state: &State, path: &str) -> Result<Option<String>> {
    Ok(state.get(path)?.map(String::from_utf8).transpose()?)
}

/// Make the first states: two changes, an upgrade tried first, a removal.
fn transactions(system: &System) -> Result<()> {
    let editor = [("bin/vi", "editor"), ("share/vi/help", "help")];

    system.fetch("shell-1", &[("bin/sh", &shell(1))])?;
    system.fetch("shell-2", &[("bin/sh", &shell(2))])?;
    system.fetch("editor-1", &editor)?;
    let base = system.change(&Transaction {
        name: "base",
        description: "a shell",
        install: &[("shell-1", "required")],
        remove: &[],
    })?;
    let second = system.change(&Transaction {
        name: "editor",
        description: "on request of a user",
        install: &[("editor-1", "explicit")],
        remove: &[],
    })?;
    let added = editor.map(|file| (file.0.into(), Change::Added));
    assert_eq!(system.compare(base, second)?, added);
    let record = system.record(&system.fork)?.ok_or("no record")?;
    assert_eq!(record.packages["editor-1"], "explicit");

    // Try an upgrade in a fork while the system stays as it is.
    let trial = system.try_out(&Transaction {
        name: "upgrade",
        description: "was tried first",
        install: &[("shell-2", "required")],
        remove: &["shell-1"],
    })?;
    assert_eq!(text(&system.fork, "bin/sh")?, Some(shell(1)));
    assert_eq!(text(&trial, "bin/sh")?, Some(shell(2)));
    assert_eq!(system.switch(trial)?, 3);
    assert_eq!(text(&system.fork, "bin/sh")?, Some(shell(2)));

    system.change(&Transaction {
        name: "cleanup",
        description: "the editor is removed",
        install: &[],
        remove: &["editor-1"],
    })?;
    assert_eq!(text(&system.fork, "bin/vi")?, None);
    Ok(())
}

/// Go back, upgrade every week, and let old states expire.
fn demonstrate(system: &System) -> Result<()> {
    transactions(system)?;
    system.store.hold("system~2", "pinned")?;
    system.go_back(2)?;
    assert_eq!(text(&system.fork, "bin/vi")?.as_deref(), Some("editor"));
    assert_eq!(text(&system.fork, "bin/sh")?, Some(shell(1)));

    let mut installed = "shell-1".to_owned();

    for version in 3..7 {
        let package = format!("shell-{version}");

        system.fetch(&package, &[("bin/sh", &shell(version))])?;
        system.change(&Transaction {
            name: &format!("update {version}"),
            description: "weekly",
            install: &[(&package, "required")],
            remove: &[&installed],
        })?;
        installed = package;
    }
    assert_eq!(system.search("weekly")?, [5, 6, 7, 8]);
    assert_eq!(system.expire(2)?, [3, 4, 5, 6]);
    assert_eq!(system.clean()?, ["shell-2", "shell-3", "shell-4"]);
    system.store.reclaim()?;
    let second = system.store.state("system~2")?;
    assert_eq!(text(&second, "bin/sh")?, Some(shell(1)));
    system.print()
}

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();

    match *args {
        [path] => demonstrate(&System::open(Store::create(path)?)?),
        [path, "list"] => {
            let store = Options::new().read_only(true).open(path)?;
            let (fork, cache) = (store.state("system")?, store.state("cache")?);

            System { store, fork, cache }.print()
        }
        _ => Err("usage: packages STORE [list]".into()),
    }
}
