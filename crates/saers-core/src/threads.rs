//! Running a kernel on a chosen number of threads.

use crate::{Error, Result};

/// Runs `work` on a pool of `threads` threads, or on the shared pool when `None`.
///
/// # Errors
/// [`Error::InvalidArgument`] when `threads` is 0 or the pool cannot be started.
///
/// ```
/// let sum: u32 = saers_core::threads::install(Some(1), || 1 + 1)?;
/// assert_eq!(sum, 2);
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn install<T: Send>(threads: Option<usize>, work: impl FnOnce() -> T + Send) -> Result<T> {
    match threads {
        None => Ok(work()),
        Some(0) => Err(Error::invalid("threads must be positive, got 0")),
        Some(count) => rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .build()
            .map(|pool| pool.install(work))
            .map_err(|error| Error::invalid(format!("threads = {count}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::install;

    #[test]
    fn zero_threads_are_refused() {
        assert!(install(Some(0), || ()).is_err());
    }

    #[test]
    fn the_pool_has_the_size_asked_for() {
        assert_eq!(install(Some(3), rayon::current_num_threads).unwrap(), 3);
    }
}
