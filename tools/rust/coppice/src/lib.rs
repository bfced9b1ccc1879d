// SPDX-License-Identifier: LGPL-2.1-or-later
//! A store of forkable states inside a program.
//!
//! A [`Store`] has states: forks, which are writable, and snapshots, which
//! never change. A [`State`] is a tree of directories and files, the same that
//! a mount of the store shows; to a program a path is a key, a file's content a
//! value, a directory a bucket. Forks and snapshots are made in constant time,
//! of any state, however old, whatever is open, and in any number.
//!
//! Changes of files are gathered in a [`Batch`]. A batch is atomic: other
//! threads, processes and mounts, and the store after a crash, have all of it
//! or nothing.
//!
//! ```
//! # let dir = std::env::temp_dir().join(format!("coppice-lib-{}", std::process::id()));
//! use coppice::{Commit, Flags, Store};
//!
//! let store = Store::create(&dir)?;
//! let main = store.state("main")?;
//! let mut batch = store.batch()?;
//!
//! // A slot: many values and a snapshot, in one durable step.
//! for account in 0..100 {
//!     let key = format!("accounts/{account}");
//!     batch.put(&main, key, b"100", Flags::PARENTS)?;
//! }
//! batch.commit(Commit::DURABLE.snapshot("slot-1"))?;
//!
//! // A fork of the slot changes on its own.
//! store.fork("main~slot-1", "try")?;
//! let fork = store.state("try")?;
//! batch.put(&fork, "accounts/7", b"93", Flags::NONE)?;
//! batch.commit(Commit::BUFFERED)?;
//!
//! assert_eq!(fork.get("accounts/7")?.unwrap(), b"93");
//! assert_eq!(main.get("accounts/7")?.unwrap(), b"100");
//! assert_eq!(main.get("accounts/100")?, None);
//! # drop((main, fork, batch));
//! store.close()?;
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok::<(), coppice::Error>(())
//! ```
//!
//! # Handles
//!
//! A handle keeps the handle from which it was made alive: a store is closed
//! when the last of its clones, states, batches and scans is dropped. States
//! can be kept for any time, in any collection; they lock nothing.
//!
//! # Threads and processes
//!
//! Any thread may use a [`Store`] or a [`State`], at any time. A [`Batch`] and
//! a [`Scan`] belong to one thread at a time; they can be sent. Closures are
//! called by the thread that passed them and may call the library; if one
//! panics, the panic continues in the caller.
//!
//! One process changes a store: the first that opens it for writing, or the
//! daemon that serves its mounts; then the changes of other processes go through
//! the daemon, and each is durable when the call returns. Any number of
//! processes can read a store at the same time if they open it
//! [read-only](Options::read_only): they see the last commit, and a snapshot
//! that they have open stays as it is. A process can have a store open once.
//!
//! A process that was made by fork(2) cannot use its parent's handles: their
//! calls fail with [`ErrorKind::Forked`]. It opens the store itself.
#![warn(missing_docs)]

mod batch;
mod closure;
mod diff;
mod error;
mod info;
mod scan;
mod state;
mod store;
mod text;

pub use batch::{Batch, Commit, Flags};
pub use diff::{Change, Difference};
pub use error::{Error, ErrorKind, Result};
pub use info::{FileType, Info, Stat, Stats};
pub use scan::{Entry, Scan, ScanOptions};
pub use state::{Read, State};
pub use store::{Join, Options, Policy, Store};

/// Return the version of the C library.
pub fn version() -> &'static str {
    // SAFETY: the text is a constant of the library.
    let text =
        unsafe { std::ffi::CStr::from_ptr(coppice_sys::coppice_version()) };

    text.to_str().unwrap_or("")
}
