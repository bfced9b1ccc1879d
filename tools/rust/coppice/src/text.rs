// SPDX-License-Identifier: LGPL-2.1-or-later
//! Strings and times on their way to C and back.
use crate::error::{Error, Result};
use coppice_sys::{c_char, errno::EINVAL};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const INLINE: usize = 256;

/// A copy of a name or path that ends with a NUL. A short copy is not on the
/// heap.
pub(crate) struct Text {
    inline: [MaybeUninit<u8>; INLINE],
    heap: Option<CString>,
}

impl Text {
    /// Copy a text. `EINVAL`: it has a NUL in it.
    pub fn new(text: &OsStr) -> Result<Text> {
        let bytes = text.as_bytes();
        let mut copy =
            Text { inline: [MaybeUninit::uninit(); INLINE], heap: None };

        if bytes.contains(&0) {
            let message = format!("{:?} has a NUL in it", text);

            return Err(Error::new(EINVAL, message));
        }
        if bytes.len() < INLINE {
            for (to, from) in copy.inline.iter_mut().zip(bytes) {
                to.write(*from);
            }
            copy.inline[bytes.len()].write(0);
        } else {
            copy.heap = CString::new(bytes).ok();
        }
        Ok(copy)
    }

    /// Return the string. It is valid until the copy is moved or dropped.
    pub fn as_ptr(&self) -> *const c_char {
        match &self.heap {
            Some(text) => text.as_ptr(),
            None => self.inline.as_ptr() as *const c_char,
        }
    }

    /// Return the string on the heap, where it does not move.
    pub fn into_c_string(self) -> CString {
        match self.heap {
            Some(text) => text,
            // SAFETY: it ends with a NUL.
            None => unsafe { CStr::from_ptr(self.as_ptr()) }.to_owned(),
        }
    }
}

/// Copy a string of C.
///
/// # Safety
/// It must be valid.
pub(crate) unsafe fn os_string(text: *const c_char) -> OsString {
    OsString::from_vec(CStr::from_ptr(text).to_bytes().to_vec())
}

/// Copy a string that may be empty or fill its array.
pub(crate) fn os_string_of(array: &[c_char]) -> OsString {
    let bytes = array.iter().map(|c| *c as u8).take_while(|c| *c != 0);

    OsString::from_vec(bytes.collect())
}

/// Return the time of a number of nanoseconds since 1970.
pub(crate) fn time_from_ns(ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(ns.unsigned_abs());

    if ns < 0 {
        UNIX_EPOCH - distance
    } else {
        UNIX_EPOCH + distance
    }
}

/// Return a time as nanoseconds since 1970: 0 for earlier times, the maximum
/// for times that are too late.
pub(crate) fn time_to_ns(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(distance) => i64::try_from(distance.as_nanos()).unwrap_or(i64::MAX),
        Err(_) => 0,
    }
}
