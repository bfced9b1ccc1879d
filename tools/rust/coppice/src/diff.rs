// SPDX-License-Identifier: LGPL-2.1-or-later
//! Comparing states.
use crate::closure::Closure;
use crate::error::Result;
use crate::info::FileType;
use crate::state::State;
use coppice_sys as sys;
use std::ffi::{CStr, OsStr};
use std::ops::ControlFlow;
use std::os::raw::{c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How a file differs between two states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// The file is in the second state alone.
    Added,
    /// The file is in the first state alone.
    Removed,
    /// Its content or attributes differ.
    Modified,
    /// It has another path; its content may differ, too.
    Renamed,
    /// A change that this version of the crate has no name for.
    Other,
}

impl Change {
    fn new(raw: c_uint) -> Change {
        match raw {
            sys::COPPICE_ADDED => Change::Added,
            sys::COPPICE_REMOVED => Change::Removed,
            sys::COPPICE_MODIFIED => Change::Modified,
            sys::COPPICE_RENAMED => Change::Renamed,
            _ => Change::Other,
        }
    }
}

/// A file that differs between two states.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Difference<'a> {
    /// How the file differs.
    pub change: Change,
    /// Its type in the second state, or in the first if it was removed.
    pub file_type: FileType,
    /// Its path in the second state, or in the first if it was removed.
    pub path: &'a Path,
    /// The path of a renamed file in the first state.
    pub from: Option<&'a Path>,
    /// The number of the inode.
    pub number: u64,
    /// Its length in the first state; 0: it is not there.
    pub old_bytes: u64,
    /// Its length in the second state; 0: it is not there.
    pub new_bytes: u64,
}

impl<'a> Difference<'a> {
    /// # Safety
    /// The strings must be valid for 'a.
    unsafe fn new(raw: &'a sys::coppice_difference) -> Difference<'a> {
        Difference {
            change: Change::new(raw.change),
            file_type: FileType::new(raw.type_),
            path: path(raw.path),
            from: if raw.from.is_null() { None } else { Some(path(raw.from)) },
            number: raw.number,
            old_bytes: raw.old_bytes,
            new_bytes: raw.new_bytes,
        }
    }
}

/// # Safety
/// The string must be valid for 'a.
unsafe fn path<'a>(text: *const c_char) -> &'a Path {
    Path::new(OsStr::from_bytes(CStr::from_ptr(text).to_bytes()))
}

impl State {
    /// Call a closure with each file that differs between this state and
    /// another one of the same store. The cost depends on what differs, not on
    /// the size of the states. If the closure breaks, the comparison ends and
    /// returns its value.
    /// [`Unsupported`](crate::ErrorKind::Unsupported): a state is a fork that
    /// another process may change.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("coppice-diff-{}", std::process::id()));
    /// # use coppice::{Commit, Flags, Store};
    /// use std::ops::ControlFlow;
    ///
    /// # let store = Store::create(&dir)?;
    /// # let main = store.state("main")?;
    /// # let mut batch = store.batch()?;
    /// store.snapshot("main", "before")?;
    /// batch.put(&main, "key", b"value", Flags::NONE)?;
    /// batch.commit(Commit::BUFFERED)?;
    ///
    /// let mut bytes = 0;
    /// let end = store.state("main~before")?.diff(&main, |file| {
    ///     bytes += file.new_bytes;
    ///     match file.path.to_str() {
    ///         Some("key") => ControlFlow::Break("found"),
    ///         _ => ControlFlow::Continue(()),
    ///     }
    /// })?;
    ///
    /// assert_eq!(end, ControlFlow::Break("found"));
    /// assert_eq!(bytes, 5);
    /// # drop((main, batch, store));
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), coppice::Error>(())
    /// ```
    pub fn diff<B, F>(&self, other: &State, each: F) -> Result<ControlFlow<B>>
    where
        F: FnMut(Difference<'_>) -> ControlFlow<B>,
    {
        let mut each = Closure::<F, B>::new(each);

        // SAFETY: both states are open, and the closure lives until the call
        // returns.
        let result = unsafe {
            sys::coppice_diff(
                self.raw(),
                other.raw(),
                Some(callback::<F, B>),
                each.arg(),
            )
        };

        each.finish(result)
    }
}

unsafe extern "C" fn callback<F, B>(
    arg: *mut c_void,
    what: *const sys::coppice_difference,
) -> c_int
where
    F: FnMut(Difference<'_>) -> ControlFlow<B>,
{
    Closure::<F, B>::call(arg, |f| f(Difference::new(&*what)))
}
