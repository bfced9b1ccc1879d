// SPDX-License-Identifier: LGPL-2.1-or-later
//! The declarations of `<coppice.h>`, under the same names.
//!
//! The header describes each function, its errors and its threads. The crate
//! `coppice` has the safe interface. `tests/header.rs` compares this file with
//! the header: every function, constant and struct is here, and a C compiler
//! finds the types and layouts equal.
#![allow(non_camel_case_types)]

pub use std::os::raw::{c_char, c_int, c_uint, c_void};

pub type size_t = usize;
pub type ssize_t = isize;
pub type uid_t = u32;
pub type gid_t = u32;
pub type mode_t = u32;

/// An open store.
#[repr(C)]
pub struct coppice {
    _private: [u8; 0],
}
/// An open state.
#[repr(C)]
pub struct coppice_state {
    _private: [u8; 0],
}
/// Changes to be made in one step.
#[repr(C)]
pub struct coppice_batch {
    _private: [u8; 0],
}
/// A position in a directory.
#[repr(C)]
pub struct coppice_scan {
    _private: [u8; 0],
}

// Flags of coppice_open().
pub const COPPICE_READ_ONLY: c_uint = 1;
pub const COPPICE_CREATE: c_uint = 2;

// Flags of coppice_fork().
pub const COPPICE_UNIQUE: c_uint = 1;

// Flags of coppice_remove().
pub const COPPICE_SNAPSHOTS: c_uint = 1;

// enum coppice_type
pub const COPPICE_FILE: c_uint = 1;
pub const COPPICE_DIRECTORY: c_uint = 2;
pub const COPPICE_SYMLINK: c_uint = 3;
pub const COPPICE_OTHER: c_uint = 4;

// Flags of coppice_scan_open().
pub const COPPICE_SORTED: c_uint = 1;

// Flags of the operations of a batch.
pub const COPPICE_PARENTS: c_uint = 1;
pub const COPPICE_RECURSIVE: c_uint = 2;
pub const COPPICE_LENIENT: c_uint = 4;

// Flags of coppice_batch_commit().
pub const COPPICE_DURABLE: c_uint = 1;

// enum coppice_change
pub const COPPICE_ADDED: c_uint = b'+' as c_uint;
pub const COPPICE_REMOVED: c_uint = b'-' as c_uint;
pub const COPPICE_MODIFIED: c_uint = b'M' as c_uint;
pub const COPPICE_RENAMED: c_uint = b'R' as c_uint;

// Flags of coppice_join().
pub const COPPICE_DRY_RUN: c_uint = 1;
pub const COPPICE_OURS: c_uint = 2;
pub const COPPICE_THEIRS: c_uint = 4;

/// Bytes of the full name of a state, with its NUL.
pub const COPPICE_NAME_SIZE: usize = 512;

#[repr(C)]
pub struct coppice_options {
    pub size: size_t,
    pub memory: u64,
    pub commit_ms: u32,
}

#[repr(C)]
pub struct coppice_stats {
    pub size: size_t,
    pub used_bytes: u64,
    pub free_bytes: u64,
    pub avail_bytes: u64,
    pub pending_bytes: u64,
    pub reclaiming: u64,
    pub states: u64,
    pub commits: u64,
}

#[repr(C)]
pub struct coppice_info {
    pub size: size_t,
    pub number: u64,
    pub fork: u64,
    pub version: u64,
    pub created: i64,
    pub files: u64,
    pub bytes: u64,
    pub exclusive: u64,
    pub snapshots: u64,
    pub read_only: c_int,
    pub name: [c_char; COPPICE_NAME_SIZE],
    pub origin: [c_char; COPPICE_NAME_SIZE],
}

#[repr(C)]
pub struct coppice_get {
    pub path: *const c_char,
    pub offset: u64,
    pub buffer: *mut c_void,
    pub size: size_t,
    pub result: ssize_t,
}

#[repr(C)]
pub struct coppice_stat {
    pub size: size_t,
    pub type_: c_uint,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    pub number: u64,
    pub bytes: u64,
    pub modified: i64,
    pub changed: i64,
    pub born: i64,
}

#[repr(C)]
pub struct coppice_entry {
    pub size: size_t,
    pub type_: c_uint,
    pub number: u64,
    pub name: *const c_char,
}

#[repr(C)]
pub struct coppice_difference {
    pub size: size_t,
    pub change: c_uint,
    pub type_: c_uint,
    pub path: *const c_char,
    pub from: *const c_char,
    pub number: u64,
    pub old_bytes: u64,
    pub new_bytes: u64,
}

/// Called by coppice_list().
pub type coppice_list_fn =
    unsafe extern "C" fn(*mut c_void, *const coppice_info) -> c_int;
/// Called by coppice_diff().
pub type coppice_diff_fn =
    unsafe extern "C" fn(*mut c_void, *const coppice_difference) -> c_int;

extern "C" {
    pub fn coppice_version() -> *const c_char;
    pub fn coppice_error() -> *const c_char;

    pub fn coppice_open(
        path: *const c_char,
        flags: c_uint,
        options: *const coppice_options,
        ret_store: *mut *mut coppice,
    ) -> c_int;
    pub fn coppice_close(store: *mut coppice) -> c_int;
    pub fn coppice_sync(store: *mut coppice) -> c_int;
    pub fn coppice_stats(
        store: *mut coppice,
        ret_stats: *mut coppice_stats,
    ) -> c_int;
    pub fn coppice_reclaim(store: *mut coppice) -> c_int;
    pub fn coppice_event_fd(store: *mut coppice) -> c_int;
    pub fn coppice_event_clear(store: *mut coppice) -> c_int;

    pub fn coppice_state_open(
        store: *mut coppice,
        name: *const c_char,
        ret_state: *mut *mut coppice_state,
    ) -> c_int;
    pub fn coppice_state_close(state: *mut coppice_state);
    pub fn coppice_info(
        state: *mut coppice_state,
        ret_info: *mut coppice_info,
    ) -> c_int;
    pub fn coppice_list(
        store: *mut coppice,
        fork: *const c_char,
        f: Option<coppice_list_fn>,
        arg: *mut c_void,
    ) -> c_int;
    pub fn coppice_fork(
        store: *mut coppice,
        source: *const c_char,
        name: *const c_char,
        flags: c_uint,
        ret_name: *mut c_char,
    ) -> c_int;
    pub fn coppice_snapshot(
        store: *mut coppice,
        fork: *const c_char,
        name: *const c_char,
    ) -> c_int;
    pub fn coppice_remove(
        store: *mut coppice,
        name: *const c_char,
        flags: c_uint,
    ) -> c_int;
    pub fn coppice_expire(
        store: *mut coppice,
        fork: *const c_char,
        before: i64,
        keep: u64,
        ret_count: *mut u64,
    ) -> c_int;
    pub fn coppice_rename(
        store: *mut coppice,
        name: *const c_char,
        to: *const c_char,
    ) -> c_int;
    pub fn coppice_swap(
        store: *mut coppice,
        a: *const c_char,
        b: *const c_char,
    ) -> c_int;
    pub fn coppice_reset(
        store: *mut coppice,
        fork: *const c_char,
        source: *const c_char,
        undo: *const c_char,
    ) -> c_int;
    pub fn coppice_hold(
        store: *mut coppice,
        name: *const c_char,
        tag: *const c_char,
    ) -> c_int;
    pub fn coppice_release(
        store: *mut coppice,
        name: *const c_char,
        tag: *const c_char,
    ) -> c_int;
    pub fn coppice_set(
        store: *mut coppice,
        name: *const c_char,
        key: *const c_char,
        value: *const c_char,
    ) -> c_int;
    pub fn coppice_property(
        store: *mut coppice,
        name: *const c_char,
        key: *const c_char,
        buffer: *mut c_char,
        size: size_t,
    ) -> ssize_t;

    pub fn coppice_get(
        state: *mut coppice_state,
        path: *const c_char,
        offset: u64,
        buffer: *mut c_void,
        size: size_t,
    ) -> ssize_t;
    pub fn coppice_get_many(
        state: *mut coppice_state,
        gets: *mut coppice_get,
        count: size_t,
    ) -> c_int;
    pub fn coppice_stat(
        state: *mut coppice_state,
        path: *const c_char,
        ret_stat: *mut coppice_stat,
    ) -> c_int;
    pub fn coppice_scan_open(
        state: *mut coppice_state,
        path: *const c_char,
        prefix: *const c_char,
        flags: c_uint,
        ret_scan: *mut *mut coppice_scan,
    ) -> c_int;
    pub fn coppice_scan_next(
        scan: *mut coppice_scan,
        ret_entry: *mut coppice_entry,
    ) -> c_int;
    pub fn coppice_scan_close(scan: *mut coppice_scan);

    pub fn coppice_batch_new(
        store: *mut coppice,
        ret_batch: *mut *mut coppice_batch,
    ) -> c_int;
    pub fn coppice_batch_attributes(
        batch: *mut coppice_batch,
        uid: uid_t,
        gid: gid_t,
        file_mode: mode_t,
        directory_mode: mode_t,
    ) -> c_int;
    pub fn coppice_batch_put(
        batch: *mut coppice_batch,
        fork: *mut coppice_state,
        path: *const c_char,
        value: *const c_void,
        size: size_t,
        flags: c_uint,
    ) -> c_int;
    pub fn coppice_batch_delete(
        batch: *mut coppice_batch,
        fork: *mut coppice_state,
        path: *const c_char,
        flags: c_uint,
    ) -> c_int;
    pub fn coppice_batch_rename(
        batch: *mut coppice_batch,
        fork: *mut coppice_state,
        path: *const c_char,
        to: *const c_char,
        flags: c_uint,
    ) -> c_int;
    pub fn coppice_batch_mkdir(
        batch: *mut coppice_batch,
        fork: *mut coppice_state,
        path: *const c_char,
        flags: c_uint,
    ) -> c_int;
    pub fn coppice_batch_commit(
        batch: *mut coppice_batch,
        flags: c_uint,
        snapshot: *const c_char,
    ) -> c_int;
    pub fn coppice_batch_discard(batch: *mut coppice_batch);

    pub fn coppice_diff(
        a: *mut coppice_state,
        b: *mut coppice_state,
        f: Option<coppice_diff_fn>,
        arg: *mut c_void,
    ) -> c_int;
    pub fn coppice_join(
        store: *mut coppice,
        from: *const c_char,
        into: *const c_char,
        flags: c_uint,
        ret_conflicts: *mut u64,
    ) -> c_int;
}

/// The values of errno that the header names, and others that callers may need.
pub mod errno {
    use super::c_int;

    pub const EPERM: c_int = 1;
    pub const ENOENT: c_int = 2;
    pub const ECHILD: c_int = 10;
    pub const ENOMEM: c_int = 12;
    pub const EACCES: c_int = 13;
    pub const EBUSY: c_int = 16;
    pub const EEXIST: c_int = 17;
    pub const EXDEV: c_int = 18;
    pub const ENOTDIR: c_int = 20;
    pub const EISDIR: c_int = 21;
    pub const EINVAL: c_int = 22;
    pub const ENOSPC: c_int = 28;
    pub const EROFS: c_int = 30;

    #[cfg(not(target_arch = "mips64"))]
    mod varying {
        use super::c_int;

        pub const ENAMETOOLONG: c_int = 36;
        pub const ENOTEMPTY: c_int = 39;
        pub const ENODATA: c_int = 61;
        pub const EOPNOTSUPP: c_int = 95;
        pub const ECONNRESET: c_int = 104;
        pub const ESTALE: c_int = 116;
        pub const EUCLEAN: c_int = 117;
        pub const EDQUOT: c_int = 122;
    }
    #[cfg(target_arch = "mips64")]
    mod varying {
        use super::c_int;

        pub const ENAMETOOLONG: c_int = 78;
        pub const ENOTEMPTY: c_int = 93;
        pub const ENODATA: c_int = 61;
        pub const EOPNOTSUPP: c_int = 122;
        pub const ECONNRESET: c_int = 131;
        pub const ESTALE: c_int = 151;
        pub const EUCLEAN: c_int = 135;
        pub const EDQUOT: c_int = 1133;
    }
    pub use varying::*;
}
