//! Running a kernel on a chosen number of threads, and stopping it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// A request to give up, shared by whoever waits for a kernel and the threads it runs on.
///
/// ```
/// use saers_core::threads::{Stop, check, install};
/// let stop = Stop::default();
/// stop.request();
/// assert!(install(Some(1), &stop, check)?.is_err());
/// # Ok::<(), saers_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the kernel to give up at its next [`check`].
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    /// The request that the work of this thread heeds.
    static STOP: RefCell<Stop> = RefCell::default();
}

/// Tells a kernel to give up when its caller asked for it; each task of a long loop calls it.
///
/// # Errors
/// [`Error::Stopped`] once [`Stop::request`] was called.
///
/// ```
/// saers_core::threads::check()?; // nobody asks on a thread that `install` did not make
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn check() -> Result<()> {
    STOP.with_borrow(|stop| match stop.0.load(Ordering::Relaxed) {
        true => Err(Error::Stopped),
        false => Ok(()),
    })
}

/// Runs `work` on a pool of `threads` threads of its own, one for each core when `None`.
///
/// # Errors
/// [`Error::InvalidArgument`] when `threads` is 0 or the pool cannot be started.
///
/// ```
/// use saers_core::threads::{Stop, install};
/// let sum: u32 = install(Some(1), &Stop::default(), || 1 + 1)?;
/// assert_eq!(sum, 2);
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn install<T: Send>(
    threads: Option<usize>,
    stop: &Stop,
    work: impl FnOnce() -> T + Send,
) -> Result<T> {
    if threads == Some(0) {
        return Err(Error::invalid("threads must be positive, got 0"));
    }
    let stop = stop.clone();
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .start_handler(move |_| STOP.set(stop.clone()))
        .build()
        .map(|pool| pool.install(work))
        .map_err(|error| Error::invalid(format!("threads = {threads:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    #[test]
    fn zero_threads_are_refused() {
        assert!(install(Some(0), &Stop::default(), || ()).is_err());
    }

    #[test]
    fn the_pool_has_the_size_asked_for() {
        assert_eq!(install(Some(3), &Stop::default(), rayon::current_num_threads).unwrap(), 3);
    }

    #[test]
    fn a_request_reaches_every_thread_of_the_pool() {
        let stop = Stop::default();
        let count = |stop: &Stop| {
            let tasks = || (0..64).into_par_iter().map(|_| check()).filter(Result::is_err).count();
            install(Some(4), stop, tasks).unwrap()
        };
        assert_eq!(count(&stop), 0);
        stop.request();
        assert_eq!(count(&stop), 64);
        assert_eq!(count(&Stop::default()), 0);
    }
}
