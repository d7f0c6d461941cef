//! Waiting for a kernel with an ear for Ctrl-C.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use saers_core::Result;
use saers_core::threads::{Stop, install};

use crate::error::CoreError;

/// How often a pending signal is looked for.
const PATIENCE: Duration = Duration::from_millis(100);

/// Runs a kernel on its own threads, the interpreter released, until it is done or the user
/// interrupts; then the kernel gives up at its next `threads::check`.
pub fn run<T: Send>(
    py: Python<'_>,
    threads: Option<usize>,
    work: impl FnOnce() -> Result<T> + Send,
) -> PyResult<T> {
    let stop = Stop::default();
    let wait = || {
        let (sender, receiver) = channel();
        thread::scope(|scope| {
            // Nobody listens any more only where this thread panics.
            scope.spawn(|| sender.send(install(threads, &stop, work).flatten()).ok());
            loop {
                match receiver.recv_timeout(PATIENCE) {
                    Ok(done) => return done.map_err(|error| CoreError::from(error).into()),
                    Err(RecvTimeoutError::Timeout) => {
                        Python::attach(|py| py.check_signals()).inspect_err(|_| stop.request())?;
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(PyRuntimeError::new_err("the kernel ended without a result"));
                    }
                }
            }
        })
    };
    py.detach(wait)
}
