// SPDX-License-Identifier: LGPL-2.1-or-later
//! Information about stores, states and files.
use crate::text::{os_string_of, time_from_ns};
use coppice_sys as sys;
use std::ffi::OsString;
use std::mem::{size_of, zeroed};
use std::os::raw::c_uint;
use std::time::SystemTime;

/// Sizes and counts of a store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes of the store's file that are in use.
    pub used_bytes: u64,
    /// Bytes of the store's file that are free for new data.
    pub free_bytes: u64,
    /// Bytes that can still be written.
    pub avail_bytes: u64,
    /// Bytes that were changed and are not durable yet.
    pub pending_bytes: u64,
    /// Versions of deleted states still to be freed.
    pub reclaiming: u64,
    /// Forks and snapshots.
    pub states: u64,
    /// Commits since the store was opened.
    pub commits: u64,
}

impl Stats {
    pub(crate) fn raw() -> sys::coppice_stats {
        // SAFETY: the struct has numbers alone.
        let mut raw: sys::coppice_stats = unsafe { zeroed() };

        raw.size = size_of::<sys::coppice_stats>();
        raw
    }

    pub(crate) fn new(raw: &sys::coppice_stats) -> Stats {
        Stats {
            used_bytes: raw.used_bytes,
            free_bytes: raw.free_bytes,
            avail_bytes: raw.avail_bytes,
            pending_bytes: raw.pending_bytes,
            reclaiming: raw.reclaiming,
            states: raw.states,
            commits: raw.commits,
        }
    }
}

/// Information about a state.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Info {
    /// The number of the state; no other state of the store has it.
    pub number: u64,
    /// The number of a snapshot's fork; None: the state is a fork.
    pub fork: Option<u64>,
    /// Equal versions have equal content.
    pub version: u64,
    /// When the state was made.
    pub created: SystemTime,
    /// Files and directories, the root included.
    pub files: u64,
    /// Bytes of the files' contents.
    pub bytes: u64,
    /// Stored bytes that deleting the state alone would free.
    pub exclusive: u64,
    /// Snapshots of a fork.
    pub snapshots: u64,
    /// The state is a snapshot.
    pub read_only: bool,
    /// The full name: `FORK` or `FORK~SNAPSHOT`.
    pub name: OsString,
    /// The state from which it was made, or None.
    pub origin: Option<OsString>,
}

impl Info {
    pub(crate) fn raw() -> sys::coppice_info {
        // SAFETY: the struct has numbers and bytes alone.
        let mut raw: sys::coppice_info = unsafe { zeroed() };

        raw.size = size_of::<sys::coppice_info>();
        raw
    }

    pub(crate) fn new(raw: &sys::coppice_info) -> Info {
        let origin = os_string_of(&raw.origin);

        Info {
            number: raw.number,
            fork: Some(raw.fork).filter(|number| *number != 0),
            version: raw.version,
            created: time_from_ns(raw.created),
            files: raw.files,
            bytes: raw.bytes,
            exclusive: raw.exclusive,
            snapshots: raw.snapshots,
            read_only: raw.read_only != 0,
            name: os_string_of(&raw.name),
            origin: Some(origin).filter(|name| !name.is_empty()),
        }
    }
}

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, FIFO or socket.
    Other,
}

impl FileType {
    pub(crate) fn new(raw: c_uint) -> FileType {
        match raw {
            sys::COPPICE_FILE => FileType::File,
            sys::COPPICE_DIRECTORY => FileType::Directory,
            sys::COPPICE_SYMLINK => FileType::Symlink,
            _ => FileType::Other,
        }
    }
}

/// The attributes of a file or directory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stat {
    /// The type.
    pub file_type: FileType,
    /// The type and the permissions, as `st_mode`.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The number of hard links.
    pub links: u32,
    /// The number of the inode; the same in every state.
    pub number: u64,
    /// The length of a file in bytes; the number of a directory's entries.
    pub bytes: u64,
    /// When the content was changed.
    pub modified: SystemTime,
    /// When the attributes were changed.
    pub changed: SystemTime,
    /// When the file was made.
    pub born: SystemTime,
}

impl Stat {
    pub(crate) fn raw() -> sys::coppice_stat {
        // SAFETY: the struct has numbers alone.
        let mut raw: sys::coppice_stat = unsafe { zeroed() };

        raw.size = size_of::<sys::coppice_stat>();
        raw
    }

    pub(crate) fn new(raw: &sys::coppice_stat) -> Stat {
        Stat {
            file_type: FileType::new(raw.type_),
            mode: raw.mode,
            uid: raw.uid,
            gid: raw.gid,
            links: raw.links,
            number: raw.number,
            bytes: raw.bytes,
            modified: time_from_ns(raw.modified),
            changed: time_from_ns(raw.changed),
            born: time_from_ns(raw.born),
        }
    }
}
