// SPDX-License-Identifier: LGPL-2.1-or-later
//! Closures that C calls.
use crate::error::{check, Result};
use coppice_sys::{c_int, c_void};
use std::ops::ControlFlow;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::thread;

/// A closure, and the value or panic that ended its calls.
pub(crate) struct Closure<F, B> {
    function: F,
    end: Option<thread::Result<B>>,
}

impl<F, B> Closure<F, B> {
    pub fn new(function: F) -> Self {
        Closure { function, end: None }
    }

    /// Return the argument that C passes with each call.
    pub fn arg(&mut self) -> *mut c_void {
        self as *mut Self as *mut c_void
    }

    /// Call the closure, and return what C expects: nonzero to end. A panic
    /// does not unwind through C: `finish()` resumes it.
    ///
    /// # Safety
    /// `arg` must be the result of `Closure::arg()`, with the same types.
    pub unsafe fn call(
        arg: *mut c_void,
        call: impl FnOnce(&mut F) -> ControlFlow<B>,
    ) -> c_int {
        let this = &mut *(arg as *mut Self);
        let function = &mut this.function;

        this.end = match catch_unwind(AssertUnwindSafe(|| call(function))) {
            Ok(ControlFlow::Continue(())) => return 0,
            Ok(ControlFlow::Break(value)) => Some(Ok(value)),
            Err(panic) => Some(Err(panic)),
        };
        1
    }

    /// Return the outcome of the C function that made the calls.
    pub fn finish(self, result: c_int) -> Result<ControlFlow<B>> {
        match self.end {
            Some(Ok(value)) => Ok(ControlFlow::Break(value)),
            Some(Err(panic)) => resume_unwind(panic),
            None => check(result).map(|_| ControlFlow::Continue(())),
        }
    }
}
