// SPDX-License-Identifier: LGPL-2.1-or-later
//! Listing directories.
use crate::error::{check, Result};
use crate::info::FileType;
use crate::state::State;
use crate::text::{os_string, Text};
use coppice_sys as sys;
use std::ffi::{OsStr, OsString};
use std::iter::FusedIterator;
use std::mem::size_of;
use std::path::Path;
use std::ptr::{self, NonNull};

/// Which entries a [`Scan`] has, and in which order.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    prefix: OsString,
    flags: u32,
}

impl ScanOptions {
    /// Begin with the defaults: all entries, in no particular order.
    pub fn new() -> ScanOptions {
        ScanOptions::default()
    }

    /// Select the entries whose names begin with a prefix.
    pub fn prefix(&mut self, prefix: impl AsRef<OsStr>) -> &mut ScanOptions {
        self.prefix = prefix.as_ref().to_owned();
        self
    }

    /// List the entries in the order of the bytes of their names. They are
    /// those that the directory has when the scan is opened, unless another
    /// process may change the fork.
    pub fn sorted(&mut self, yes: bool) -> &mut ScanOptions {
        self.flags = if yes { sys::COPPICE_SORTED } else { 0 };
        self
    }
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The name within the directory.
    pub name: OsString,
    /// The type of the file.
    pub file_type: FileType,
    /// The number of the inode.
    pub number: u64,
}

/// The entries of a directory, as [`State::scan()`] returns them. An error is
/// the last item.
pub struct Scan {
    raw: NonNull<sys::coppice_scan>,
    /// The state of the directory, which must stay open.
    state: State,
    at_end: bool,
}

// SAFETY: a scan belongs to one thread at a time.
unsafe impl Send for Scan {}

impl Scan {
    pub(crate) fn open(
        state: State,
        path: &Path,
        options: &ScanOptions,
    ) -> Result<Scan> {
        let path = Text::new(path.as_os_str())?;
        let prefix = Text::new(&options.prefix)?;
        let mut raw = ptr::null_mut();

        // SAFETY: the arguments are valid during the call.
        check(unsafe {
            sys::coppice_scan_open(
                state.raw(),
                path.as_ptr(),
                prefix.as_ptr(),
                options.flags,
                &mut raw,
            )
        })?;
        // SAFETY: the call has set the pointer.
        let raw = unsafe { NonNull::new_unchecked(raw) };

        Ok(Scan { raw, state, at_end: false })
    }

    fn step(&mut self) -> Result<Option<Entry>> {
        let mut entry = sys::coppice_entry {
            size: size_of::<sys::coppice_entry>(),
            type_: 0,
            number: 0,
            name: ptr::null(),
        };

        // SAFETY: the scan is open, and the struct has its size.
        if check(unsafe {
            sys::coppice_scan_next(self.raw.as_ptr(), &mut entry)
        })? == 0
        {
            return Ok(None);
        }
        Ok(Some(Entry {
            // SAFETY: the name is valid until the next call.
            name: unsafe { os_string(entry.name) },
            file_type: FileType::new(entry.type_),
            number: entry.number,
        }))
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        if self.at_end {
            return None;
        }

        let entry = self.step().transpose();

        self.at_end = !matches!(entry, Some(Ok(_)));
        entry
    }
}

impl FusedIterator for Scan {}

impl Drop for Scan {
    fn drop(&mut self) {
        // SAFETY: nobody else has the scan, and its state is open.
        unsafe { sys::coppice_scan_close(self.raw.as_ptr()) }
    }
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan")
            .field("state", &self.state)
            .field("at_end", &self.at_end)
            .finish()
    }
}
