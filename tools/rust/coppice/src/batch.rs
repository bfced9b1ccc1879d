// SPDX-License-Identifier: LGPL-2.1-or-later
//! Batches of changes.
use crate::error::{check, Result};
use crate::state::State;
use crate::store::StoreHandle;
use crate::text::Text;
use coppice_sys as sys;
use std::ffi::OsStr;
use std::ops::BitOr;
use std::os::raw::c_void;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Flags of the operations of a [`Batch`], combined by `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// Make missing directories of a path.
    pub const PARENTS: Flags = Flags(sys::COPPICE_PARENTS);
    /// Delete a directory with all that is in it.
    pub const RECURSIVE: Flags = Flags(sys::COPPICE_RECURSIVE);
    /// Accept that a path to delete is missing, or that a directory to make
    /// exists.
    pub const LENIENT: Flags = Flags(sys::COPPICE_LENIENT);
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// How to commit a [`Batch`].
///
/// `Commit::DURABLE.snapshot("slot-17")` is a durable commit with a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    flags: u32,
    snapshot: Option<&'a OsStr>,
}

impl<'a> Commit<'a> {
    /// Return when this process sees the changes. They become durable, and
    /// visible to other processes, within the
    /// [commit interval](crate::Options::commit_interval).
    pub const BUFFERED: Commit<'static> = Commit { flags: 0, snapshot: None };
    /// Return when the changes are durable.
    pub const DURABLE: Commit<'static> =
        Commit { flags: sys::COPPICE_DURABLE, snapshot: None };

    /// Give each fork of the batch a snapshot of this name in the same step.
    pub fn snapshot<'b, S>(self, name: &'b S) -> Commit<'b>
    where
        S: AsRef<OsStr> + ?Sized,
    {
        Commit { flags: self.flags, snapshot: Some(name.as_ref()) }
    }
}

/// Changes to be made in one step. Nothing is changed before
/// [`commit()`](Batch::commit); a batch that is dropped changes nothing.
///
/// One batch can change several forks. Operations on one fork are done in the
/// order in which they were added.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("coppice-batch-{}", std::process::id()));
/// use coppice::{Commit, Flags, Store};
///
/// let store = Store::create(&dir)?;
/// let main = store.state("main")?;
/// let mut batch = store.batch()?;
///
/// batch.put(&main, "accounts/alice", b"100", Flags::PARENTS)?;
/// batch.put(&main, "accounts/bob", b"20", Flags::PARENTS)?;
/// batch.commit(Commit::DURABLE.snapshot("slot-1"))?;
///
/// let slot = store.state("main~slot-1")?;
/// assert_eq!(slot.get("accounts/bob")?.unwrap(), b"20");
/// # drop((slot, main, batch, store));
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # Ok::<(), coppice::Error>(())
/// ```
///
/// A batch belongs to one thread at a time: it can be sent to another thread,
/// but not shared.
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<coppice::Batch>();
/// ```
pub struct Batch {
    raw: NonNull<sys::coppice_batch>,
    /// Released after the batch.
    _store: Arc<StoreHandle>,
}

// SAFETY: a batch belongs to one thread at a time.
unsafe impl Send for Batch {}

impl Batch {
    pub(crate) fn new(store: Arc<StoreHandle>) -> Result<Batch> {
        let mut raw = ptr::null_mut();

        // SAFETY: the store is open.
        check(unsafe { sys::coppice_batch_new(store.raw(), &mut raw) })?;
        // SAFETY: the call has set the pointer.
        let raw = unsafe { NonNull::new_unchecked(raw) };

        Ok(Batch { raw, _store: store })
    }

    /// Set the attributes of the files and directories that the following
    /// operations make. The defaults are the process's user and group, 0o644
    /// and 0o755.
    pub fn attributes(
        &mut self,
        uid: u32,
        gid: u32,
        file_mode: u32,
        directory_mode: u32,
    ) -> Result<()> {
        // SAFETY: the batch is open.
        check(unsafe {
            sys::coppice_batch_attributes(
                self.raw.as_ptr(),
                uid,
                gid,
                file_mode,
                directory_mode,
            )
        })
        .map(drop)
    }

    /// Replace the content of a file by a value, which is copied. The file is
    /// made if it is missing. Flags: [`Flags::PARENTS`].
    pub fn put(
        &mut self,
        fork: &State,
        path: impl AsRef<Path>,
        value: impl AsRef<[u8]>,
        flags: Flags,
    ) -> Result<()> {
        let path = Text::new(path.as_ref().as_os_str())?;
        let value = value.as_ref();

        // SAFETY: the arguments are valid during the call.
        check(unsafe {
            sys::coppice_batch_put(
                self.raw.as_ptr(),
                fork.raw(),
                path.as_ptr(),
                value.as_ptr() as *const c_void,
                value.len(),
                flags.0,
            )
        })
        .map(drop)
    }

    /// Delete a file or an empty directory. Flags: [`Flags::RECURSIVE`],
    /// [`Flags::LENIENT`].
    pub fn delete(
        &mut self,
        fork: &State,
        path: impl AsRef<Path>,
        flags: Flags,
    ) -> Result<()> {
        let path = Text::new(path.as_ref().as_os_str())?;

        // SAFETY: the arguments are valid during the call.
        check(unsafe {
            sys::coppice_batch_delete(
                self.raw.as_ptr(),
                fork.raw(),
                path.as_ptr(),
                flags.0,
            )
        })
        .map(drop)
    }

    /// Rename a file or directory within a fork; a file of the new name, or an
    /// empty directory, is replaced. Flags: [`Flags::PARENTS`].
    pub fn rename(
        &mut self,
        fork: &State,
        path: impl AsRef<Path>,
        to: impl AsRef<Path>,
        flags: Flags,
    ) -> Result<()> {
        let path = Text::new(path.as_ref().as_os_str())?;
        let to = Text::new(to.as_ref().as_os_str())?;

        // SAFETY: the arguments are valid during the call.
        check(unsafe {
            sys::coppice_batch_rename(
                self.raw.as_ptr(),
                fork.raw(),
                path.as_ptr(),
                to.as_ptr(),
                flags.0,
            )
        })
        .map(drop)
    }

    /// Make a directory. Flags: [`Flags::PARENTS`], [`Flags::LENIENT`].
    pub fn mkdir(
        &mut self,
        fork: &State,
        path: impl AsRef<Path>,
        flags: Flags,
    ) -> Result<()> {
        let path = Text::new(path.as_ref().as_os_str())?;

        // SAFETY: the arguments are valid during the call.
        check(unsafe {
            sys::coppice_batch_mkdir(
                self.raw.as_ptr(),
                fork.raw(),
                path.as_ptr(),
                flags.0,
            )
        })
        .map(drop)
    }

    /// Make all changes of the batch in one step. Afterwards the batch is empty
    /// and can be filled again. After an error nothing has changed, and the
    /// batch is as it was, with one exception: if the changes were made but
    /// cannot be made durable, the error is that of
    /// [`Store::sync()`](crate::Store::sync) and the batch is empty.
    pub fn commit(&mut self, how: Commit<'_>) -> Result<()> {
        let snapshot = how.snapshot.map(Text::new).transpose()?;

        // SAFETY: the arguments are valid during the call.
        check(unsafe {
            sys::coppice_batch_commit(
                self.raw.as_ptr(),
                how.flags,
                snapshot.as_ref().map_or(ptr::null(), Text::as_ptr),
            )
        })
        .map(drop)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: nobody else has the batch, and its store is open.
        unsafe { sys::coppice_batch_discard(self.raw.as_ptr()) }
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Batch").field(&self.raw).finish()
    }
}
