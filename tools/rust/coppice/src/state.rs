// SPDX-License-Identifier: LGPL-2.1-or-later
//! Open states, and reading them.
use crate::error::{check, check_len, none_if, Error, Result};
use crate::info::{Info, Stat};
use crate::scan::{Scan, ScanOptions};
use crate::store::StoreHandle;
use crate::text::Text;
use coppice_sys as sys;
use coppice_sys::errno::{ENOENT, ENOMEM};
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::raw::{c_int, c_void};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

/// Values of up to this size are read without asking for their length first.
const SMALL: usize = 4096;

/// The C handle, closed with the last object that uses it.
pub(crate) struct StateHandle {
    raw: NonNull<sys::coppice_state>,
    /// Released after the state.
    store: Arc<StoreHandle>,
}

// SAFETY: any thread may use a handle of a state, at any time.
unsafe impl Send for StateHandle {}
unsafe impl Sync for StateHandle {}

impl StateHandle {
    pub fn raw(&self) -> *mut sys::coppice_state {
        self.raw.as_ptr()
    }
}

impl Drop for StateHandle {
    fn drop(&mut self) {
        // SAFETY: nobody else has the handle, and the store is open.
        unsafe { sys::coppice_state_close(self.raw()) }
    }
}

/// An open state. A clone is another handle of the same.
///
/// A handle of a snapshot keeps its content readable even if the snapshot is
/// deleted meanwhile. A handle of a fork shows the fork as it is at each call,
/// and follows the fork when that is renamed.
///
/// Paths are relative to the root of the state; no symbolic link is followed.
#[derive(Clone)]
pub struct State {
    handle: Arc<StateHandle>,
}

impl State {
    /// # Safety
    /// `raw` must be a handle of this store that nobody else has.
    pub(crate) unsafe fn new(
        raw: *mut sys::coppice_state,
        store: Arc<StoreHandle>,
    ) -> State {
        let raw = NonNull::new_unchecked(raw);

        State { handle: Arc::new(StateHandle { raw, store }) }
    }

    pub(crate) fn raw(&self) -> *mut sys::coppice_state {
        self.handle.raw()
    }

    /// Return information about the state.
    pub fn info(&self) -> Result<Info> {
        let mut info = Info::raw();

        // SAFETY: the handle is open, and the struct has its size.
        check(unsafe { sys::coppice_info(self.raw(), &mut info) })?;
        Ok(Info::new(&info))
    }

    /// Return the content of a file, or None if there is no such path.
    pub fn get(&self, path: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
        let path = Text::new(path.as_ref().as_os_str())?;
        let mut small = [MaybeUninit::<u8>::uninit(); SMALL];
        let mut value = Vec::new();

        // SAFETY: the buffer has this size.
        let read = unsafe { self.read(&path, 0, small.as_mut_ptr(), SMALL) };
        let len = match none_if(ENOENT, read)? {
            None => return Ok(None),
            Some(SMALL) => {
                return Ok(self.get_long(&path, &mut value)?.then_some(value));
            }
            Some(len) => len,
        };

        // SAFETY: that many bytes were written to the buffer.
        value.extend_from_slice(unsafe {
            std::slice::from_raw_parts(small.as_ptr() as *const u8, len)
        });
        Ok(Some(value))
    }

    /// Read the content of a file into a buffer, whose memory is reused. Return
    /// false, with an empty buffer, if there is no such path.
    pub fn get_into(
        &self,
        path: impl AsRef<Path>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        let path = Text::new(path.as_ref().as_os_str())?;

        value.clear();
        value.reserve(SMALL);
        let room = value.capacity();
        let buffer = value.as_mut_ptr() as *mut MaybeUninit<u8>;
        // SAFETY: the buffer has this size.
        let read = unsafe { self.read(&path, 0, buffer, room) };

        match none_if(ENOENT, read)? {
            None => Ok(false),
            Some(len) if len == room => self.get_long(&path, value),
            Some(len) => {
                // SAFETY: that many bytes were written to the buffer.
                unsafe { value.set_len(len) };
                Ok(true)
            }
        }
    }

    /// Read a file whose length must be asked for. Let coppice_get_many() read
    /// all of it as of one instant, with room for one more byte, which shows
    /// whether the file has grown since.
    fn get_long(&self, path: &Text, value: &mut Vec<u8>) -> Result<bool> {
        let mut stat = Stat::raw();

        loop {
            value.clear();
            // SAFETY: the handle is open, and the struct has its size.
            let found = check(unsafe {
                sys::coppice_stat(self.raw(), path.as_ptr(), &mut stat)
            });

            if none_if(ENOENT, found)?.is_none() {
                return Ok(false);
            }
            // A sparse file can have any length.
            value
                .try_reserve((stat.bytes as usize).saturating_add(1))
                .map_err(|_| {
                    let message = "out of memory for the value of a key";

                    Error::new(ENOMEM, message.to_owned())
                })?;

            let room = value.capacity();
            let mut get = sys::coppice_get {
                path: path.as_ptr(),
                offset: 0,
                buffer: value.as_mut_ptr() as *mut c_void,
                size: room,
                result: 0,
            };

            // SAFETY: the buffer has this size.
            check(unsafe { sys::coppice_get_many(self.raw(), &mut get, 1) })?;
            match none_if(ENOENT, read_result(get.result))? {
                None => return Ok(false),
                Some(len) if len == room => continue,
                Some(len) => {
                    // SAFETY: that many bytes were written to the buffer.
                    unsafe { value.set_len(len) };
                    return Ok(true);
                }
            }
        }
    }

    /// Read bytes of a file from an offset on. Return how many were read; fewer
    /// than the buffer has room for only at the end of the file.
    pub fn read_at(
        &self,
        path: impl AsRef<Path>,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize> {
        let path = Text::new(path.as_ref().as_os_str())?;
        let start = buffer.as_mut_ptr() as *mut MaybeUninit<u8>;

        // SAFETY: the buffer has this size.
        unsafe { self.read(&path, offset, start, buffer.len()) }
    }

    /// # Safety
    /// The buffer must have room for `size` bytes.
    unsafe fn read(
        &self,
        path: &Text,
        offset: u64,
        buffer: *mut MaybeUninit<u8>,
        size: usize,
    ) -> Result<usize> {
        check_len(sys::coppice_get(
            self.raw(),
            path.as_ptr(),
            offset,
            buffer as *mut c_void,
            size,
        ))
    }

    /// Do many reads, all as of the same instant, unless another process may
    /// change the fork: then each read is as of one instant, but not all of
    /// them. Each read has its own result; an error of a single read is not an
    /// error of the call.
    pub fn read_many(&self, reads: &mut [Read<'_>]) -> Result<()> {
        let mut gets: Vec<sys::coppice_get> = reads
            .iter_mut()
            .map(|read| sys::coppice_get {
                path: read.path.as_ptr(),
                offset: read.offset,
                buffer: read.buffer.as_mut_ptr() as *mut c_void,
                size: read.buffer.len(),
                result: 0,
            })
            .collect();

        // SAFETY: the buffers have these sizes.
        check(unsafe {
            sys::coppice_get_many(self.raw(), gets.as_mut_ptr(), gets.len())
        })?;
        for (read, get) in reads.iter_mut().zip(&gets) {
            read.result = get.result;
        }
        Ok(())
    }

    /// Return the attributes of a file or directory, or None if there is no
    /// such path. `""` is the root.
    pub fn stat(&self, path: impl AsRef<Path>) -> Result<Option<Stat>> {
        let path = Text::new(path.as_ref().as_os_str())?;
        let mut stat = Stat::raw();

        // SAFETY: the handle is open, and the struct has its size.
        let found = check(unsafe {
            sys::coppice_stat(self.raw(), path.as_ptr(), &mut stat)
        });

        Ok(none_if(ENOENT, found)?.map(|_| Stat::new(&stat)))
    }

    /// List a directory, in no particular order. `""` is the root. Entries that
    /// are made or removed meanwhile may be included or not.
    pub fn scan(&self, path: impl AsRef<Path>) -> Result<Scan> {
        self.scan_with(path, &ScanOptions::new())
    }

    /// List the entries of a directory that the options select.
    pub fn scan_with(
        &self,
        path: impl AsRef<Path>,
        options: &ScanOptions,
    ) -> Result<Scan> {
        Scan::open(self.clone(), path.as_ref(), options)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("State")
            .field(&self.raw())
            .field(&self.handle.store.raw())
            .finish()
    }
}

/// Turn the result of a single read, which has no message, into a `Result`.
fn read_result(result: sys::ssize_t) -> Result<usize> {
    if result >= 0 {
        return Ok(result as usize);
    }

    let errno = -result as c_int;
    let reason = io::Error::from_raw_os_error(errno);

    Err(Error::new(errno, format!("cannot read a file: {}", reason)))
}

/// One of the reads of [`State::read_many()`].
#[derive(Debug)]
pub struct Read<'a> {
    path: CString,
    offset: u64,
    buffer: &'a mut [u8],
    result: sys::ssize_t,
}

impl<'a> Read<'a> {
    /// Describe a read of a file, from an offset on, into a buffer.
    pub fn new(
        path: impl AsRef<Path>,
        offset: u64,
        buffer: &'a mut [u8],
    ) -> Result<Read<'a>> {
        let path = Text::new(path.as_ref().as_os_str())?.into_c_string();

        Ok(Read { path, offset, buffer, result: 0 })
    }

    /// Return the bytes that were read, or None if there is no such path.
    pub fn bytes(&self) -> Result<Option<&[u8]>> {
        let len = none_if(ENOENT, read_result(self.result))?;

        Ok(len.map(|len| &self.buffer[..len]))
    }
}
