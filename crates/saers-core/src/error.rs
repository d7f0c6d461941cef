//! The one error type of the crate.

use std::path::{Path, PathBuf};

/// Everything that can go wrong in a kernel or a reader.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A caller's argument lies outside its domain; the message names argument and value.
    #[error("{0}")]
    InvalidArgument(String),
    /// A file does not hold what its format promises.
    #[error("{}: {place}: {message}", path.display())]
    Format {
        /// The file that is broken.
        path: PathBuf,
        /// Where in it: "line 12", "byte 512", "record chr1".
        place: String,
        /// What was found and what was expected.
        message: String,
    },
    /// The operating system refused to read or write a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file that was being read or written.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The caller asked the kernel to give up.
    #[error("stopped on request")]
    Stopped,
    /// A search used up the time that its caller allowed.
    #[error("no result within {seconds} s")]
    Timeout {
        /// The limit that was set, in seconds.
        seconds: f64,
    },
}

/// Result of a fallible call in this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Builds an [`Error::InvalidArgument`].
    ///
    /// ```
    /// let error = saers_core::Error::invalid("k must be positive, got 0");
    /// assert_eq!(error.to_string(), "k must be positive, got 0");
    /// ```
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidArgument(message.into())
    }

    /// Builds an [`Error::Format`] that names file and place.
    ///
    /// ```
    /// let error = saers_core::Error::format("m.meme", "line 3", "no motif");
    /// assert_eq!(error.to_string(), "m.meme: line 3: no motif");
    /// ```
    pub fn format(
        path: impl AsRef<Path>,
        place: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::Format {
            path: path.as_ref().to_path_buf(),
            place: place.into(),
            message: message.into(),
        }
    }

    /// Builds an [`Error::Io`] that names the file.
    ///
    /// ```
    /// let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
    /// let error = saers_core::Error::io("genome.fa", missing);
    /// assert!(error.to_string().starts_with("genome.fa: "));
    /// ```
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_path_buf(), source }
    }
}
