//! Work on many threads whose results arrive in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::Reader;
use crate::{Result, threads};

/// Results that wait until those before them have come.
struct Line<T, F> {
    next: usize,
    early: BTreeMap<usize, Result<T>>,
    fold: F,
    outcome: Result<()>,
}

impl<T, F: FnMut(T) -> Result<()>> Line<T, F> {
    fn put(&mut self, unit: usize, result: Result<T>) {
        self.early.insert(unit, result);
        while let Some(result) = self.early.remove(&self.next) {
            self.next += 1;
            if self.outcome.is_ok() {
                self.outcome = result.and_then(&mut self.fold);
            }
        }
    }
}

/// Does units 0 to `units` on all threads, each with a reader of its own, and folds the results
/// in their order; the error of the lowest unit that fails is the one returned.
pub(crate) fn in_order<T: Send>(
    units: usize,
    work: impl Fn(&mut Reader, usize) -> Result<T> + Sync,
    fold: impl FnMut(T) -> Result<()> + Send,
) -> Result<()> {
    let (taken, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let line = Mutex::new(Line { next: 0, early: BTreeMap::new(), fold, outcome: Ok(()) });
    let workers = rayon::current_num_threads().min(units);
    (0..workers).into_par_iter().with_max_len(1).for_each(|_| {
        let mut reader = Reader::default();
        // A unit that was taken is always put, so that no result waits for ever.
        while !stop.load(Ordering::Relaxed) {
            let unit = taken.fetch_add(1, Ordering::Relaxed);
            if unit >= units {
                break;
            }
            let result = threads::check().and_then(|()| work(&mut reader, unit));
            let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
            line.put(unit, result);
            if line.outcome.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    line.into_inner().unwrap_or_else(PoisonError::into_inner).outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::threads::{Stop, install};

    fn run(
        threads: usize,
        work: impl Fn(usize) -> Result<usize> + Sync + Send,
    ) -> (Vec<usize>, Result<()>) {
        let mut seen = Vec::new();
        let fold = |unit| {
            seen.push(unit);
            Ok(())
        };
        let all = || in_order(200, |_, unit| work(unit), fold);
        let outcome = install(Some(threads), &Stop::default(), all).unwrap();
        (seen, outcome)
    }

    #[test]
    fn results_come_in_order_from_any_number_of_threads() {
        for threads in [1, 2, 8] {
            let slow_first = |unit: usize| {
                std::thread::sleep(std::time::Duration::from_micros((unit % 7) as u64 * 30));
                Ok(unit)
            };
            let (seen, outcome) = run(threads, slow_first);
            assert!(outcome.is_ok());
            assert_eq!(seen, (0..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_error_of_the_lowest_unit_wins() {
        let fails = |unit: usize| match unit {
            90 => {
                std::thread::sleep(std::time::Duration::from_millis(5));
                Err(Error::invalid("90"))
            }
            91.. => Err(Error::invalid("later")),
            _ => Ok(unit),
        };
        let (seen, outcome) = run(4, fails);
        assert_eq!(outcome.unwrap_err().to_string(), "90");
        assert_eq!(seen.len(), 90);
    }
}
