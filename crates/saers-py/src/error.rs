//! The only place where a core error becomes a Python exception.

use pyo3::PyErr;
use pyo3::create_exception;
use pyo3::exceptions::{PyTimeoutError, PyValueError};
use saers_core::Error;

create_exception!(
    saers,
    FormatError,
    PyValueError,
    "A file does not hold what its format promises; the message names file and place."
);
create_exception!(
    saers,
    TimeoutExceeded,
    PyTimeoutError,
    "A search used up the time that its caller allowed."
);

/// Carries a core error through `?` in a binding (the orphan rule forbids `From` directly).
pub struct CoreError(Error);

/// Result of a binding.
pub type CoreResult<T> = std::result::Result<T, CoreError>;

impl From<Error> for CoreError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<CoreError> for PyErr {
    fn from(CoreError(error): CoreError) -> Self {
        let message = error.to_string();
        match error {
            Error::Format { .. } => FormatError::new_err(message),
            Error::Timeout { .. } => TimeoutExceeded::new_err(message),
            // Keeps FileNotFoundError, PermissionError …; the path stands in the message.
            Error::Io { source, .. } => std::io::Error::new(source.kind(), message).into(),
            _ => PyValueError::new_err(message),
        }
    }
}
