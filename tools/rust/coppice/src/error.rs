// SPDX-License-Identifier: LGPL-2.1-or-later
//! Errors.
use coppice_sys::{c_int, coppice_error, errno::*, ssize_t};
use std::ffi::CStr;
use std::fmt;
use std::io;

/// A failed call: its errno value and a sentence that describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    errno: c_int,
    message: String,
}

/// The results of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// The errno values that callers usually distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// `EEXIST`: the name is taken.
    AlreadyExists,
    /// `EBUSY`: this process has the store open already, another process has
    /// it open to change it, or a state is held.
    Busy,
    /// `EUCLEAN`: the store is damaged; see coppice-check(1).
    Damaged,
    /// `ECONNRESET`: the daemon that made the changes has ended. Reading
    /// continues; for changes, close the store and open it again.
    Disconnected,
    /// `ECHILD`: the handle was opened by the parent process, before fork(2).
    Forked,
    /// `EINVAL`, `ENAMETOOLONG`: a name, path, flag or size is not valid.
    InvalidInput,
    /// `EISDIR`: the path is that of a directory.
    IsADirectory,
    /// `ENODATA`: two states have nothing in common.
    NoData,
    /// `ENOSPC`: the store or its disk is full.
    NoSpace,
    /// `ENOTDIR`: a part of the path is not a directory.
    NotADirectory,
    /// `ENOTEMPTY`: a directory has entries, or a fork has snapshots.
    NotEmpty,
    /// `ENOENT`: there is no such store, state or path.
    NotFound,
    /// `EXDEV`: the handles are of different stores.
    OtherStore,
    /// `ENOMEM`: out of memory.
    OutOfMemory,
    /// `EPERM`, `EACCES`: only root can give files to others, or the store
    /// belongs to somebody else.
    PermissionDenied,
    /// `EDQUOT`: the quota of the fork is used up.
    QuotaExceeded,
    /// `EROFS`: the state is a snapshot, or the store was opened read-only.
    ReadOnly,
    /// `ESTALE`: the state was deleted.
    Stale,
    /// `EOPNOTSUPP`: a fork that another process may change cannot be compared;
    /// a snapshot of it can.
    Unsupported,
    /// Any other errno value.
    Other,
}

impl Error {
    /// Make an error from the negative errno value that this thread's last call
    /// of the library has returned.
    pub(crate) fn last(result: c_int) -> Error {
        // SAFETY: the text is valid until the thread's next call.
        let text = unsafe { CStr::from_ptr(coppice_error()) };

        Error::new(-result, text.to_string_lossy().into_owned())
    }

    pub(crate) fn new(errno: c_int, message: String) -> Error {
        Error { errno, message }
    }

    /// Return the errno value, which is positive.
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// Return the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self.errno {
            EEXIST => ErrorKind::AlreadyExists,
            EBUSY => ErrorKind::Busy,
            EUCLEAN => ErrorKind::Damaged,
            ECONNRESET => ErrorKind::Disconnected,
            ECHILD => ErrorKind::Forked,
            EINVAL | ENAMETOOLONG => ErrorKind::InvalidInput,
            EISDIR => ErrorKind::IsADirectory,
            ENODATA => ErrorKind::NoData,
            ENOSPC => ErrorKind::NoSpace,
            ENOTDIR => ErrorKind::NotADirectory,
            ENOTEMPTY => ErrorKind::NotEmpty,
            ENOENT => ErrorKind::NotFound,
            EXDEV => ErrorKind::OtherStore,
            ENOMEM => ErrorKind::OutOfMemory,
            EPERM | EACCES => ErrorKind::PermissionDenied,
            EDQUOT => ErrorKind::QuotaExceeded,
            EROFS => ErrorKind::ReadOnly,
            ESTALE => ErrorKind::Stale,
            EOPNOTSUPP => ErrorKind::Unsupported,
            _ => ErrorKind::Other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(io::Error::from_raw_os_error(error.errno).kind(), error)
    }
}

/// Turn the result of a call into a `Result`.
pub(crate) fn check(result: c_int) -> Result<c_int> {
    if result < 0 {
        return Err(Error::last(result));
    }
    Ok(result)
}

/// Turn the result of a call that returns a length into a `Result`.
pub(crate) fn check_len(result: ssize_t) -> Result<usize> {
    if result < 0 {
        return Err(Error::last(result as c_int));
    }
    Ok(result as usize)
}

/// Return None if the error is this errno value.
pub(crate) fn none_if<T>(errno: c_int, result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.errno == errno => Ok(None),
        Err(error) => Err(error),
    }
}
