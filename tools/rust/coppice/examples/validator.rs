// SPDX-License-Identifier: LGPL-2.1-or-later
//! The state of a chain's validator: a snapshot for each slot, several forks of
//! one parent followed at once, reads of any slot, expiry, a crash.
//!
//!     validator STORE [SLOTS [PUTS]]
//!
//! Each slot overwrites PUTS of PUTS * 5 accounts of 1,000 bytes, in one durable
//! step with a snapshot. A twin of every state in memory has the values that
//! its accounts must have. SLOTS slots are measured, and then reads.
use coppice::{Commit, Error, Flags, State, Store};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const VALUE: usize = 1000;
const READS: u32 = 200_000;
/// Slots before those that are measured: they prepare the intent log.
const FIRST: u32 = 4;
const CRASH_ACCOUNTS: u32 = 1000;

/// The forks of the chain, as pairs of a parent and a fork.
const FORKS: [(&str, &str); 9] = [
    ("alfred", "benny"),
    ("benny", "chase"),
    ("chase", "dian"),
    ("dian", "elly"),
    ("alfred", "boris"),
    ("boris", "claire"),
    ("claire", "chris"),
    ("chris", "diaz"),
    ("diaz", "cory"),
];

// ---- Accounts ------------------------------------------------------------

/// Return a pseudorandom number, by splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);

    z ^ (z >> 31)
}

fn key(account: u32) -> String {
    format!("accounts/{:02}/{}", account % 100, account)
}

/// Return the value that the slot of this stamp gives an account. It does not
/// compress.
fn value(stamp: u32, account: u32) -> [u8; VALUE] {
    let mut seed = (u64::from(stamp) << 32) | u64::from(account);
    let mut value = [0; VALUE];

    for word in value.chunks_exact_mut(8) {
        word.copy_from_slice(&random(&mut seed).to_le_bytes());
    }
    value
}

/// A state that is open, and the stamp that each account must have.
#[derive(Clone)]
struct Followed {
    state: State,
    twin: Vec<u32>,
}

impl Followed {
    /// Compare some accounts with the twin.
    fn check(&self, count: u32, seed: &mut u64) -> Result<()> {
        let mut found = Vec::new();

        for _ in 0..count {
            let account = random(seed) as usize % self.twin.len();
            let expected = value(self.twin[account], account as u32);

            self.state.get_into(key(account as u32), &mut found)?;
            if found != expected {
                let name = self.state.info()?.name;
                return Err(format!("{name:?}: account {account}").into());
            }
        }
        Ok(())
    }

    /// Count the accounts in which it differs from another state.
    fn differences(&self, other: &Followed) -> usize {
        let both = self.twin.iter().zip(&other.twin);

        both.filter(|(a, b)| a != b).count()
    }
}

// ---- The chain -----------------------------------------------------------

struct Chain {
    store: Store,
    puts: u32,
    stamp: u32,
    seed: u64,
    heads: BTreeMap<String, Followed>,
    slots: BTreeMap<String, Followed>, // by FORK~SNAPSHOT
}

impl Chain {
    /// Make the fork alfred with all accounts.
    fn genesis(store: Store, puts: u32) -> Result<Chain> {
        store.fork_empty("alfred")?;

        let state = store.state("alfred")?;
        let twin = vec![0; puts as usize * 5];
        let mut batch = store.batch()?;

        for account in 0..puts * 5 {
            let value = value(0, account);
            batch.put(&state, key(account), value, Flags::PARENTS)?;
        }
        batch.commit(Commit::DURABLE.snapshot("genesis"))?;

        let genesis = Followed {
            state: store.state("alfred~genesis")?,
            twin: twin.clone(),
        };
        let heads = [("alfred".to_owned(), Followed { state, twin })];
        let slots = [("alfred~genesis".to_owned(), genesis)];

        Ok(Chain {
            store,
            puts,
            stamp: 0,
            seed: 1,
            heads: heads.into(),
            slots: slots.into(),
        })
    }

    /// Run a slot of a fork. Return the time that its puts and its commit took,
    /// and the processor time.
    fn slot(&mut self, fork: &str) -> Result<(Duration, Duration)> {
        let head = self.heads.get_mut(fork).ok_or("no such fork")?;
        let mut changes = Vec::new();

        self.stamp += 1;
        for _ in 0..self.puts {
            let account = random(&mut self.seed) as usize % head.twin.len();

            head.twin[account] = self.stamp;
            changes
                .push((key(account as u32), value(self.stamp, account as u32)));
        }

        let name = format!("slot-{}", self.stamp);
        let (start, processor) = (Instant::now(), processor_time()?);
        let mut batch = self.store.batch()?;

        for (key, value) in &changes {
            batch.put(&head.state, key, value, Flags::NONE)?;
        }
        batch.commit(Commit::DURABLE.snapshot(&name))?;

        let time = (start.elapsed(), processor_time()? - processor);
        let full = format!("{fork}~{name}");
        let state = self.store.state(&full)?;

        self.slots.insert(full, Followed { state, twin: head.twin.clone() });
        Ok(time)
    }

    /// Fork a state, whatever is open, and run a slot of the fork.
    fn fork(&mut self, parent: &str, name: &str) -> Result<()> {
        let twin = self.heads[parent].twin.clone();

        self.store.fork(parent, name)?;
        let state = self.store.state(name)?;
        self.heads.insert(name.to_owned(), Followed { state, twin });
        self.slot(name).map(drop)
    }

    /// Return the first and the last slot of a fork.
    fn first_and_last(&self, fork: &str) -> (&Followed, &Followed) {
        let of_fork =
            |number: u32| &self.slots[&format!("{fork}~slot-{number}")];
        let prefix = format!("{fork}~slot-");
        let numbers = self.slots.keys().filter_map(|name| {
            name.strip_prefix(&prefix).and_then(|n| n.parse::<u32>().ok())
        });
        let numbers: Vec<u32> = numbers.collect();

        (
            of_fork(*numbers.iter().min().unwrap()),
            of_fork(*numbers.iter().max().unwrap()),
        )
    }

    fn check_all(&mut self) -> Result<()> {
        let mut seed = self.seed;

        for followed in self.heads.values().chain(self.slots.values()) {
            followed.check(20, &mut seed)?;
        }
        Ok(())
    }
}

// ---- The parts of the run ------------------------------------------------

/// Follow all forks at once: all states stay open, a second and a third child
/// of each grows beside the first, and readers look at old slots meanwhile.
fn follow_forks(chain: &mut Chain) -> Result<()> {
    let old: Vec<Followed> = chain.slots.values().cloned().collect();
    let done = AtomicBool::new(false);
    let read_old = || -> std::result::Result<u32, String> {
        let mut seed = 5;
        let mut rounds = 0;

        while rounds == 0 || !done.load(Ordering::Relaxed) {
            for followed in &old {
                let checked = followed.check(10, &mut seed);
                checked.map_err(|e| e.to_string())?;
            }
            rounds += 1;
        }
        Ok(rounds)
    };

    let rounds = thread::scope(|scope| {
        let reader = scope.spawn(read_old);
        let followed = grow_forks(chain);

        done.store(true, Ordering::Relaxed);
        let rounds = reader.join().expect("the reader panicked");
        followed.and_then(|()| rounds.map_err(Into::into))
    })?;

    println!(
        "{} forks, {} slots are open",
        chain.heads.len(),
        chain.slots.len()
    );
    println!("old slots were read {rounds} times meanwhile");
    chain.check_all()
}

fn grow_forks(chain: &mut Chain) -> Result<()> {
    for (parent, name) in FORKS {
        chain.fork(parent, name)?;
        chain.slot(parent)?; // the parent continues as before
    }
    for (_, name) in FORKS {
        for child in 2..4 {
            chain.fork(name, &format!("{name}-{child}"))?;
        }
    }
    Ok(())
}

/// Change all heads in one step: others see all of it or nothing.
fn common_step(chain: &mut Chain) -> Result<()> {
    let mut batch = chain.store.batch()?;

    for head in chain.heads.values() {
        batch.put(&head.state, "finalized", "slot-1", Flags::NONE)?;
    }
    batch.commit(Commit::DURABLE)?;
    for head in chain.heads.values() {
        assert_eq!(head.state.get("finalized")?.unwrap(), b"slot-1");
    }
    Ok(())
}

/// Compare two slots: the accounts that differ are those of the twins.
fn compare(chain: &Chain) -> Result<()> {
    let (a, b) = chain.first_and_last("alfred");
    let start = Instant::now();
    let mut count = 0;

    let end: ControlFlow<()> = a.state.diff(&b.state, |file| {
        count += usize::from(file.path.starts_with("accounts/"));
        ControlFlow::Continue(())
    })?;
    println!("{} accounts differ, {:.1?}", count, start.elapsed());
    assert_eq!(end, ControlFlow::Continue(()));
    assert_eq!(count, a.differences(b));
    Ok(())
}

/// Delete all slots but the newest two. A slot that is open stays readable.
fn expire(chain: &mut Chain) -> Result<()> {
    let (first, _) = chain.first_and_last("alfred");
    let first = first.clone();
    let later = SystemTime::now() + Duration::from_secs(60);
    let count = chain.store.expire("alfred", later, 2)?;

    first.check(100, &mut chain.seed)?;
    chain.slots.retain(|name, _| !name.starts_with("alfred~"));
    println!("{count} slots expired");
    assert_eq!(chain.store.snapshots("alfred")?.len(), 2);
    drop(first);
    chain.store.reclaim()?;
    Ok(())
}

/// Return the processor time of all threads of the process.
fn processor_time() -> Result<Duration> {
    let mut ns = 0;

    for thread in fs::read_dir("/proc/self/task")? {
        let stat = fs::read_to_string(thread?.path().join("schedstat"))?;

        ns += stat.split(' ').next().unwrap_or("").parse::<u64>()?;
    }
    Ok(Duration::from_nanos(ns))
}

/// Measure reads of random accounts of one state.
fn measure_reads(what: &str, followed: &Followed) -> Result<()> {
    let mut seed = 7;
    let keys: Vec<String> = (0..READS)
        .map(|_| key(random(&mut seed) as u32 % followed.twin.len() as u32))
        .collect();
    let mut found = Vec::new();
    let (start, processor) = (Instant::now(), processor_time()?);

    for key in &keys {
        followed.state.get_into(key, &mut found)?;
        assert_eq!(found.len(), VALUE);
    }
    println!(
        "reads {what}: {:.0} a second, {:.0} a second of the processor",
        f64::from(READS) / start.elapsed().as_secs_f64(),
        f64::from(READS) / (processor_time()? - processor).as_secs_f64()
    );
    Ok(())
}

fn measure(chain: &mut Chain, slots: u32) -> Result<()> {
    let mut times = Vec::new();
    let mut processor = Vec::new();

    for slot in 0..FIRST + slots {
        // A slot may have to wait for the commit of the one before.
        chain.store.sync()?;

        let (time, used) = chain.slot("alfred")?;

        if slot >= FIRST {
            times.push(time);
            processor.push(used);
        }
    }
    times.sort();
    processor.sort();
    println!(
        "slots of {} puts, durable: median {:.1?}, {:.1?} to {:.1?}; \
         {:.1?} of the processor",
        chain.puts,
        times[times.len() / 2],
        times[0],
        times[times.len() - 1],
        processor[processor.len() / 2]
    );
    measure_reads("from the newest state", &chain.heads["alfred"])?;
    measure_reads("from the oldest slot", &chain.slots["alfred~genesis"])
}

// ---- The crash -----------------------------------------------------------

/// Commit slots until the process is killed. All accounts of a slot have its
/// number.
fn write_until_killed(path: &str) -> Result<()> {
    let store = Store::open(path)?;

    store.fork_empty("crash")?;
    let state = store.state("crash")?;
    let mut batch = store.batch()?;

    for slot in 0.. {
        for account in 0..CRASH_ACCOUNTS {
            let value = slot.to_string();
            batch.put(&state, key(account), value, Flags::PARENTS)?;
        }
        let name = format!("slot-{slot}");
        let durable = slot % 4 == 0;
        let how = if durable { Commit::DURABLE } else { Commit::BUFFERED };

        batch.commit(how.snapshot(&name))?;
        if durable {
            println!("{slot}");
        }
    }
    Ok(())
}

/// Kill a process in the middle of its slots. Return the last slot that it
/// reported as durable.
fn crash(path: &str) -> Result<u32> {
    let mut child = Command::new(env::current_exe()?)
        .args([path, "--until-killed"])
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(|line| line.ok()?.parse().ok());
    let seen: Option<u32> = lines.by_ref().nth(2);

    child.kill()?;
    child.wait()?;
    // Lines that it printed since count, too.
    lines.last().or(seen).ok_or_else(|| "the child has failed".into())
}

fn check_after_crash(store: &Store, durable: u32) -> Result<()> {
    let slots = store.snapshots("crash")?;
    let head = store.state("crash")?;

    assert!(slots.len() as u32 > durable, "a durable slot is missing");
    for slot in 0..slots.len() as u32 {
        let state = store.state(format!("crash~slot-{slot}"))?;

        check_slot(&state, slot)?;
    }
    check_slot(&head, slots.len() as u32 - 1)?;
    println!("killed after slot {durable}, {} slots are whole", slots.len());
    Ok(())
}

fn check_slot(state: &State, slot: u32) -> std::result::Result<(), Error> {
    let expected = slot.to_string().into_bytes();

    for account in 0..CRASH_ACCOUNTS {
        assert_eq!(state.get(key(account))?.as_ref(), Some(&expected));
    }
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let number =
        |i: usize, default| args.get(i).map_or(Ok(default), |n| n.parse());
    let path = args.first().ok_or("usage: validator STORE [SLOTS [PUTS]]")?;

    if args.get(1).map(String::as_str) == Some("--until-killed") {
        return write_until_killed(path);
    }

    let (slots, puts) = (number(1, 20)?, number(2, 20_000)?);
    let mut chain = Chain::genesis(Store::create(path)?, puts)?;

    measure(&mut chain, slots)?;
    follow_forks(&mut chain)?;
    common_step(&mut chain)?;
    compare(&chain)?;
    expire(&mut chain)?;
    chain.check_all()?;

    // One process at a time writes to a store that has no daemon.
    let Chain { store, heads, slots, .. } = chain;
    drop((heads, slots));
    store.close()?;
    let durable = crash(path)?;
    let store = Store::open(path)?;
    check_after_crash(&store, durable)?;
    store.close()?;
    Ok(())
}
