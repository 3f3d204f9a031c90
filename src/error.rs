//! One error type for everything a caller can get wrong. Errors are data: the addon and the handler turn
//! them into a JavaScript error or an error answer, nothing here throws.

use std::{borrow::Cow, collections::TryReserveError, fmt};

/// The JavaScript class an [`Error`] becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// `Error`
    Error,
    /// `TypeError`
    TypeError,
    /// `RangeError`
    RangeError,
}

impl ErrorClass {
    /// The class's name in JavaScript.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::TypeError => "TypeError",
            Self::RangeError => "RangeError",
        }
    }
}

/// What was wrong, with which value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The JavaScript class.
    pub class: ErrorClass,
    /// A stable code for programs, as Node's own errors have one.
    pub code: &'static str,
    /// A sentence for people.
    pub message: Cow<'static, str>,
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The entries of a store that a primary has taken over; it knows where they are.
    pub fn moved() -> Self {
        Self {
            class: ErrorClass::Error,
            code: "ERR_STORE_MOVED",
            message: "the primary has moved the shared store; ask it".into(),
        }
    }

    /// A value of the wrong type or outside what is allowed: `TypeError`, `ERR_INVALID_ARG_TYPE`.
    pub fn argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            class: ErrorClass::TypeError,
            code: "ERR_INVALID_ARG_TYPE",
            message: message.into(),
        }
    }

    /// An option that cannot be used: `TypeError`, `ERR_INVALID_ARG_VALUE`.
    pub fn option(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            class: ErrorClass::TypeError,
            code: "ERR_INVALID_ARG_VALUE",
            message: message.into(),
        }
    }

    /// A message from a worker that is not a well-formed request: `Error`, `ERR_BAD_REQUEST`.
    pub fn request(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            class: ErrorClass::Error,
            code: "ERR_BAD_REQUEST",
            message: message.into(),
        }
    }

    /// A command the store does not have; the text is that of the 1.x API.
    pub fn command(name: &str) -> Self {
        Self {
            class: ErrorClass::Error,
            code: "ERR_UNKNOWN_COMMAND",
            message: format!("LRUCache.{name}() is not a valid function").into(),
        }
    }

    /// A namespace that no creation message made, or whose creation failed.
    pub fn namespace(name: &str) -> Self {
        Self {
            class: ErrorClass::Error,
            code: "ERR_NO_NAMESPACE",
            message: format!(
                "no cache exists in the namespace {name:?}: its creation failed or never arrived"
            )
            .into(),
        }
    }

    /// This process or the machine has no memory for what was to be stored or read.
    pub fn out_of_memory() -> Self {
        Self {
            class: ErrorClass::Error,
            code: "ERR_OUT_OF_MEMORY",
            message: "there is no memory left for the entry".into(),
        }
    }

    /// Another process (or thread) holds the lock of a store for longer than the caller would wait.
    pub fn busy() -> Self {
        Self {
            class: ErrorClass::Error,
            code: "ERR_STORE_BUSY",
            message: "another process holds the lock of the shared store; try again".into(),
        }
    }

    /// A value that only the process which stored it can read: a JavaScript value kept by reference.
    pub fn elsewhere() -> Self {
        Self {
            class: ErrorClass::Error,
            code: "ERR_STORE_ELSEWHERE",
            message: "the value is a JavaScript value of the primary, which must be asked for it".into(),
        }
    }

    /// A store with the JavaScript values of another process, or of another copy of the package.
    pub fn held() -> Self {
        Self {
            class: ErrorClass::Error,
            code: "ERR_STORE_HELD",
            message: "the shared store belongs to another copy of the package".into(),
        }
    }

    /// This system has no memory that processes share.
    pub fn no_shared_memory() -> Self {
        Self {
            class: ErrorClass::Error,
            code: "ERR_STORE_MEMORY",
            message: "caches in shared memory need Linux".into(),
        }
    }

    /// The operating system refused what a schedule needs.
    pub fn schedule(error: &std::io::Error) -> Self {
        Self {
            class: ErrorClass::Error,
            code: "ERR_SCHEDULE",
            message: format!("prune: the scheduler's thread cannot be started: {error}").into(),
        }
    }

    /// A result that does not fit a message.
    pub fn too_large(bytes: usize) -> Self {
        Self {
            class: ErrorClass::RangeError,
            code: "ERR_OUT_OF_RANGE",
            message: format!("the result of {bytes} bytes is too large for a message; ask for fewer entries")
                .into(),
        }
    }
}

impl From<TryReserveError> for Error {
    fn from(_: TryReserveError) -> Self {
        Self::out_of_memory()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
