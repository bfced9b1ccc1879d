// SPDX-License-Identifier: LGPL-2.1-or-later
//! Stores, and operations on their states by name.
use crate::batch::Batch;
use crate::closure::Closure;
use crate::error::{check, check_len, none_if, Error, Result};
use crate::info::{Info, Stats};
use crate::state::State;
use crate::text::{os_string_of, time_to_ns, Text};
use coppice_sys as sys;
use std::ffi::{OsStr, OsString};
use std::mem::size_of;
use std::ops::ControlFlow;
use std::os::raw::{c_char, c_int, c_void};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::io::BorrowedFd;
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The C handle, closed with the last object that uses it.
pub(crate) struct StoreHandle(*mut sys::coppice);

// SAFETY: any thread may use a handle of a store, at any time.
unsafe impl Send for StoreHandle {}
unsafe impl Sync for StoreHandle {}

impl StoreHandle {
    pub fn raw(&self) -> *mut sys::coppice {
        self.0
    }

    fn close(&mut self) -> Result<()> {
        let raw = std::mem::replace(&mut self.0, ptr::null_mut());

        // SAFETY: all objects that use the handle have been dropped.
        check(unsafe { sys::coppice_close(raw) }).map(drop)
    }
}

impl Drop for StoreHandle {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

/// How to open a store.
///
/// ```no_run
/// use std::time::Duration;
///
/// let store = coppice::Options::new()
///     .create(true)
///     .memory(256 << 20)
///     .commit_interval(Duration::from_secs(1))
///     .open("/var/lib/validator")?;
/// # Ok::<(), coppice::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    flags: u32,
    memory: u64,
    commit_ms: u32,
}

impl Options {
    /// Begin with the defaults: the store must be there, and is writable.
    pub fn new() -> Options {
        Options::default()
    }

    /// Refuse changes.
    pub fn read_only(&mut self, yes: bool) -> &mut Options {
        self.flag(sys::COPPICE_READ_ONLY, yes)
    }

    /// Make the store if there is none.
    pub fn create(&mut self, yes: bool) -> &mut Options {
        self.flag(sys::COPPICE_CREATE, yes)
    }

    /// Limit the bytes for caches and unsaved changes; 0: the default.
    pub fn memory(&mut self, bytes: u64) -> &mut Options {
        self.memory = bytes;
        self
    }

    /// Set the longest age of an unsaved change, which is rounded up to
    /// milliseconds; zero: the default, 4 seconds.
    pub fn commit_interval(&mut self, age: Duration) -> &mut Options {
        let ms = (age.as_nanos() + 999_999) / 1_000_000;

        self.commit_ms = u32::try_from(ms).unwrap_or(u32::MAX);
        self
    }

    fn flag(&mut self, flag: u32, yes: bool) -> &mut Options {
        self.flags = if yes { self.flags | flag } else { self.flags & !flag };
        self
    }

    /// Open the store in a directory. A new store has one fork, `main`, which
    /// is empty. [`NotFound`](crate::ErrorKind::NotFound): there is no store;
    /// [`Busy`](crate::ErrorKind::Busy): this process has it open
    /// already, or another process that is not a daemon has it open to change
    /// it.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Store> {
        let path = Text::new(path.as_ref().as_os_str())?;
        let options = sys::coppice_options {
            size: size_of::<sys::coppice_options>(),
            memory: self.memory,
            commit_ms: self.commit_ms,
        };
        let mut raw = ptr::null_mut();

        // SAFETY: the arguments are valid during the call.
        check(unsafe {
            sys::coppice_open(path.as_ptr(), self.flags, &options, &mut raw)
        })?;
        Ok(Store { handle: Arc::new(StoreHandle(raw)) })
    }
}

/// An open store. A clone is another handle of the same.
///
/// The store stays open as long as there is a clone, a [`State`], a [`Batch`]
/// or a [`Scan`](crate::Scan) of it. If dropping the last of them closes the
/// store, errors are lost: call [`close()`](Store::close) or
/// [`sync()`](Store::sync) if they matter.
#[derive(Clone)]
pub struct Store {
    handle: Arc<StoreHandle>,
}

impl Store {
    /// Open the store in a directory, for writing.
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        Options::new().open(path)
    }

    /// Open the store in a directory, for writing, and make it if there is
    /// none.
    pub fn create(path: impl AsRef<Path>) -> Result<Store> {
        Options::new().create(true).open(path)
    }

    /// Make all changes durable and release the store. If there are other
    /// handles, it stays open until the last of them is dropped.
    pub fn close(self) -> Result<()> {
        match Arc::try_unwrap(self.handle) {
            Ok(mut handle) => handle.close(),
            Err(handle) => Store { handle }.sync(),
        }
    }

    /// Wait until all changes made before the call are durable.
    pub fn sync(&self) -> Result<()> {
        // SAFETY: the handle is open.
        check(unsafe { sys::coppice_sync(self.raw()) }).map(drop)
    }

    /// Return the store's sizes and counts.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::raw();

        // SAFETY: the handle is open, and the struct has its size.
        check(unsafe { sys::coppice_stats(self.raw(), &mut stats) })?;
        Ok(Stats::new(&stats))
    }

    /// Wait until the space of all deleted states is free, durably, except that
    /// of snapshots that a handle still reads, here or in another process.
    pub fn reclaim(&self) -> Result<()> {
        // SAFETY: the handle is open.
        check(unsafe { sys::coppice_reclaim(self.raw()) }).map(drop)
    }

    /// Return a descriptor for `poll(2)` or an event loop that becomes readable
    /// when states have been changed, made or deleted, by any process. Reset it
    /// only with [`event_clear()`](Store::event_clear).
    pub fn event_fd(&self) -> Result<BorrowedFd<'_>> {
        // SAFETY: the handle is valid; the descriptor is open as long as it is.
        check(unsafe { sys::coppice_event_fd(self.raw()) })
            .map(|fd| unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// Make the descriptor unreadable until the next change. True: there may
    /// have been changes since the last call. Look at the states afterwards:
    /// then no change is missed.
    pub fn event_clear(&self) -> Result<bool> {
        // SAFETY: the handle is valid.
        check(unsafe { sys::coppice_event_clear(self.raw()) }).map(|r| r != 0)
    }

    /// Open a state by any form of its name: `FORK`, `FORK~SNAPSHOT`, `FORK~N`
    /// (the N-th newest snapshot), `FORK~@TIME` (the newest snapshot at or
    /// before a time).
    pub fn state(&self, name: impl AsRef<OsStr>) -> Result<State> {
        let name = Text::new(name.as_ref())?;
        let mut raw = ptr::null_mut();

        // SAFETY: the arguments are valid during the call.
        check(unsafe {
            sys::coppice_state_open(self.raw(), name.as_ptr(), &mut raw)
        })?;
        // SAFETY: the handle was just made, of this store.
        Ok(unsafe { State::new(raw, self.handle.clone()) })
    }

    /// Begin a batch of changes.
    pub fn batch(&self) -> Result<Batch> {
        Batch::new(self.handle.clone())
    }

    /// Return all forks, in the order of their names.
    pub fn forks(&self) -> Result<Vec<Info>> {
        self.list(ptr::null())
    }

    /// Return the snapshots of a fork, in the order of their names.
    pub fn snapshots(&self, fork: impl AsRef<OsStr>) -> Result<Vec<Info>> {
        self.list(Text::new(fork.as_ref())?.as_ptr())
    }

    /// `fork` must be valid, or null.
    fn list(&self, fork: *const c_char) -> Result<Vec<Info>> {
        let mut infos = Vec::new();
        let mut add = Closure::new(|info| {
            infos.push(info);
            ControlFlow::Continue(())
        });
        let add_info = info_callback(&add);

        // SAFETY: the closure lives until the call returns.
        let result = unsafe {
            sys::coppice_list(self.raw(), fork, Some(add_info), add.arg())
        };

        add.finish(result).map(|_| infos)
    }

    /// Make a fork of a state.
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists): the name is taken.
    pub fn fork(
        &self,
        source: impl AsRef<OsStr>,
        name: impl AsRef<OsStr>,
    ) -> Result<()> {
        self.make(Some(source.as_ref()), name.as_ref(), 0).map(drop)
    }

    /// Make a fork of a state. If the name is taken, add a suffix to it. Return
    /// the name that it got.
    pub fn fork_unique(
        &self,
        source: impl AsRef<OsStr>,
        name: impl AsRef<OsStr>,
    ) -> Result<OsString> {
        let unique = sys::COPPICE_UNIQUE;

        self.make(Some(source.as_ref()), name.as_ref(), unique)
    }

    /// Make a fork that is empty.
    pub fn fork_empty(&self, name: impl AsRef<OsStr>) -> Result<()> {
        self.make(None, name.as_ref(), 0).map(drop)
    }

    fn make(
        &self,
        source: Option<&OsStr>,
        name: &OsStr,
        flags: u32,
    ) -> Result<OsString> {
        let source = source.map(Text::new).transpose()?;
        let name = Text::new(name)?;
        let mut got = [0; sys::COPPICE_NAME_SIZE];

        // SAFETY: the arguments are valid during the call.
        check(unsafe {
            sys::coppice_fork(
                self.raw(),
                source.as_ref().map_or(ptr::null(), Text::as_ptr),
                name.as_ptr(),
                flags,
                got.as_mut_ptr(),
            )
        })?;
        Ok(os_string_of(&got))
    }

    /// Make a snapshot of a fork; it is then found as `FORK~NAME`.
    pub fn snapshot(
        &self,
        fork: impl AsRef<OsStr>,
        name: impl AsRef<OsStr>,
    ) -> Result<()> {
        self.call2(sys::coppice_snapshot, fork.as_ref(), name.as_ref())
    }

    /// Delete a state. Its name is free at once, its space is freed in the
    /// background. [`NotEmpty`](crate::ErrorKind::NotEmpty): a fork has
    /// snapshots; [`Busy`](crate::ErrorKind::Busy): the state is held, or is
    /// the default state.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> Result<()> {
        self.remove_flags(name.as_ref(), 0)
    }

    /// Delete a fork with its snapshots.
    pub fn remove_all(&self, fork: impl AsRef<OsStr>) -> Result<()> {
        self.remove_flags(fork.as_ref(), sys::COPPICE_SNAPSHOTS)
    }

    fn remove_flags(&self, name: &OsStr, flags: u32) -> Result<()> {
        let name = Text::new(name)?;

        // SAFETY: the arguments are valid during the call.
        check(unsafe { sys::coppice_remove(self.raw(), name.as_ptr(), flags) })
            .map(drop)
    }

    /// Delete the snapshots of a fork that were made before a time, but never
    /// the `keep` newest ones. Snapshots that are held are kept. Return how
    /// many were deleted.
    pub fn expire(
        &self,
        fork: impl AsRef<OsStr>,
        before: SystemTime,
        keep: u64,
    ) -> Result<u64> {
        let fork = Text::new(fork.as_ref())?;
        let before = time_to_ns(before);
        let mut count = 0;

        // SAFETY: the arguments are valid during the call.
        check(unsafe {
            sys::coppice_expire(
                self.raw(),
                fork.as_ptr(),
                before,
                keep,
                &mut count,
            )
        })?;
        Ok(count)
    }

    /// Rename a state; `to` is the new name of a fork, or of the snapshot
    /// alone. Handles of a fork follow it.
    pub fn rename(
        &self,
        name: impl AsRef<OsStr>,
        to: impl AsRef<OsStr>,
    ) -> Result<()> {
        self.call2(sys::coppice_rename, name.as_ref(), to.as_ref())
    }

    /// Exchange the names of two forks, or of two snapshots of one fork.
    pub fn swap(
        &self,
        a: impl AsRef<OsStr>,
        b: impl AsRef<OsStr>,
    ) -> Result<()> {
        self.call2(sys::coppice_swap, a.as_ref(), b.as_ref())
    }

    /// Replace the content of a fork by that of another state, in one step.
    /// Handles of the fork stay valid.
    pub fn reset(
        &self,
        fork: impl AsRef<OsStr>,
        source: impl AsRef<OsStr>,
    ) -> Result<()> {
        self.reset_undo(fork.as_ref(), source.as_ref(), None)
    }

    /// Do the same, and first make a snapshot of the fork, called `undo`.
    /// Through a daemon, the snapshot is a separate step.
    pub fn reset_with_undo(
        &self,
        fork: impl AsRef<OsStr>,
        source: impl AsRef<OsStr>,
        undo: impl AsRef<OsStr>,
    ) -> Result<()> {
        let undo = Text::new(undo.as_ref())?;

        self.reset_undo(fork.as_ref(), source.as_ref(), Some(undo))
    }

    fn reset_undo(
        &self,
        fork: &OsStr,
        source: &OsStr,
        undo: Option<Text>,
    ) -> Result<()> {
        let (fork, source) = (Text::new(fork)?, Text::new(source)?);

        // SAFETY: the arguments are valid during the call.
        check(unsafe {
            sys::coppice_reset(
                self.raw(),
                fork.as_ptr(),
                source.as_ptr(),
                undo.as_ref().map_or(ptr::null(), Text::as_ptr),
            )
        })
        .map(drop)
    }

    /// Protect a state from deletion by a tag.
    pub fn hold(
        &self,
        name: impl AsRef<OsStr>,
        tag: impl AsRef<OsStr>,
    ) -> Result<()> {
        self.call2(sys::coppice_hold, name.as_ref(), tag.as_ref())
    }

    /// Remove a tag that protects a state.
    pub fn release(
        &self,
        name: impl AsRef<OsStr>,
        tag: impl AsRef<OsStr>,
    ) -> Result<()> {
        self.call2(sys::coppice_release, name.as_ref(), tag.as_ref())
    }

    /// Set a property of a state; see coppice-set(1).
    pub fn set(
        &self,
        name: impl AsRef<OsStr>,
        key: impl AsRef<OsStr>,
        value: impl AsRef<OsStr>,
    ) -> Result<()> {
        self.set_value(name.as_ref(), key.as_ref(), Some(value.as_ref()))
    }

    /// Remove a property of a state.
    pub fn unset(
        &self,
        name: impl AsRef<OsStr>,
        key: impl AsRef<OsStr>,
    ) -> Result<()> {
        self.set_value(name.as_ref(), key.as_ref(), None)
    }

    fn set_value(
        &self,
        name: &OsStr,
        key: &OsStr,
        value: Option<&OsStr>,
    ) -> Result<()> {
        let (name, key) = (Text::new(name)?, Text::new(key)?);
        let value = value.map(Text::new).transpose()?;

        // SAFETY: the arguments are valid during the call.
        check(unsafe {
            sys::coppice_set(
                self.raw(),
                name.as_ptr(),
                key.as_ptr(),
                value.as_ref().map_or(ptr::null(), Text::as_ptr),
            )
        })
        .map(drop)
    }

    /// Return a property of a state, or None if it is not set.
    pub fn property(
        &self,
        name: impl AsRef<OsStr>,
        key: impl AsRef<OsStr>,
    ) -> Result<Option<OsString>> {
        let name = Text::new(name.as_ref())?;
        let key = Text::new(key.as_ref())?;
        let mut value = vec![0u8; 256];

        loop {
            // SAFETY: the arguments are valid during the call.
            let len = check_len(unsafe {
                sys::coppice_property(
                    self.raw(),
                    name.as_ptr(),
                    key.as_ptr(),
                    value.as_mut_ptr() as *mut c_char,
                    value.len(),
                )
            });
            let len = match none_if(sys::errno::ENODATA, len)? {
                None => return Ok(None),
                Some(len) => len,
            };

            if len < value.len() {
                value.truncate(len);
                return Ok(Some(OsString::from_vec(value)));
            }
            value.resize(len + 1, 0);
        }
    }

    /// Join a state into a fork by a three-way merge, in one step; see
    /// coppice-join(1). [`NoData`](crate::ErrorKind::NoData): the two have
    /// nothing in common.
    pub fn join(
        &self,
        from: impl AsRef<OsStr>,
        into: impl AsRef<OsStr>,
        policy: Policy,
    ) -> Result<Join> {
        let flags = match policy {
            Policy::Refuse => 0,
            Policy::Ours => sys::COPPICE_OURS,
            Policy::Theirs => sys::COPPICE_THEIRS,
        };

        self.join_flags(from.as_ref(), into.as_ref(), flags)
    }

    /// Return how a join would end, and change nothing.
    pub fn join_dry_run(
        &self,
        from: impl AsRef<OsStr>,
        into: impl AsRef<OsStr>,
    ) -> Result<Join> {
        let flags = sys::COPPICE_DRY_RUN;

        self.join_flags(from.as_ref(), into.as_ref(), flags)
    }

    fn join_flags(
        &self,
        from: &OsStr,
        into: &OsStr,
        flags: u32,
    ) -> Result<Join> {
        let (from, into) = (Text::new(from)?, Text::new(into)?);
        let mut conflicts = 0;

        // SAFETY: the arguments are valid during the call.
        let result = check(unsafe {
            sys::coppice_join(
                self.raw(),
                from.as_ptr(),
                into.as_ptr(),
                flags,
                &mut conflicts,
            )
        });

        match result {
            Ok(_) => Ok(Join::Done),
            Err(e) if conflicts != 0 => {
                Ok(Join::Conflicts { count: conflicts, error: e })
            }
            Err(e) => Err(e),
        }
    }

    /// Call a function of the library with two names.
    fn call2(
        &self,
        function: unsafe extern "C" fn(
            *mut sys::coppice,
            *const c_char,
            *const c_char,
        ) -> c_int,
        a: &OsStr,
        b: &OsStr,
    ) -> Result<()> {
        let (a, b) = (Text::new(a)?, Text::new(b)?);

        // SAFETY: the arguments are valid during the call.
        check(unsafe { function(self.raw(), a.as_ptr(), b.as_ptr()) }).map(drop)
    }

    fn raw(&self) -> *mut sys::coppice {
        self.handle.raw()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.raw()).finish()
    }
}

/// Return the callback of coppice_list() for a closure.
fn info_callback<F>(_: &Closure<F, ()>) -> sys::coppice_list_fn
where
    F: FnMut(Info) -> ControlFlow<()>,
{
    unsafe extern "C" fn callback<F>(
        arg: *mut c_void,
        info: *const sys::coppice_info,
    ) -> c_int
    where
        F: FnMut(Info) -> ControlFlow<()>,
    {
        Closure::<F, ()>::call(arg, |f| f(Info::new(&*info)))
    }

    callback::<F>
}

/// How a join decides conflicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Change nothing if there are conflicts.
    Refuse,
    /// Decide each for the fork.
    Ours,
    /// Decide each for the other state.
    Theirs,
}

/// The outcome of a join.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Join {
    /// The state was joined, or would be.
    Done,
    /// Files are in conflict, and nothing was changed.
    Conflicts {
        /// The number of files.
        count: u64,
        /// A description, for callers to which a conflict is a failure.
        error: Error,
    },
}

impl Join {
    /// Turn conflicts into an error.
    pub fn into_result(self) -> Result<()> {
        match self {
            Join::Done => Ok(()),
            Join::Conflicts { error, .. } => Err(error),
        }
    }
}
