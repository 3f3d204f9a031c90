//! The error type of this crate, and every error code that Rust gives ([`Code`]). The addon turns an error into a
//! JavaScript error, and the handler turns it into an error answer. In messages of errors, "the shared store" is a segment.

use std::{borrow::Cow, collections::TryReserveError, fmt, ops::Deref};

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

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A stable code for programs, as Node's own errors have one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as JavaScript has it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// A value of the wrong type, or outside what is allowed.
    InvalidArgType = "ERR_INVALID_ARG_TYPE",
    /// An option that cannot be used.
    InvalidArgValue = "ERR_INVALID_ARG_VALUE",
    /// A result that does not fit a message.
    OutOfRange = "ERR_OUT_OF_RANGE",
    /// This process or the machine has no memory for what was to be stored or read.
    OutOfMemory = "ERR_OUT_OF_MEMORY",
    /// A text that no `scan` gave as its cursor.
    Cursor = "ERR_CURSOR",
    /// A message that is not a well-formed request.
    BadRequest = "ERR_BAD_REQUEST",
    /// A command that caches do not have.
    UnknownCommand = "ERR_UNKNOWN_COMMAND",
    /// A namespace that was not made.
    NoNamespace = "ERR_NO_NAMESPACE",
    /// A schedule that cannot be started.
    Schedule = "ERR_SCHEDULE",
    /// Another process or thread has the lock of the cache: try again.
    Busy = "ERR_STORE_BUSY",
    /// The value is a JavaScript value of the primary, which must be asked for it.
    Elsewhere = "ERR_STORE_ELSEWHERE",
    /// The primary has moved the entries to another segment: ask the primary which.
    Moved = "ERR_STORE_MOVED",
    /// The namespace was destroyed, and may have been made anew since.
    Gone = "ERR_STORE_GONE",
    /// The slots in the segment belong to another process, or to another copy of the package.
    Held = "ERR_STORE_HELD",
    /// The system has no shared memory to give, or it cannot be mapped.
    NoSharedMemory = "ERR_STORE_MEMORY",
    /// The system is short of what a segment needs, such as file descriptors: try again later.
    Unavailable = "ERR_STORE_UNAVAILABLE",
    /// The memory holds no segment that this version can use.
    Attach = "ERR_STORE_ATTACH",
    /// Siblings cannot look for their segment.
    Siblings = "ERR_STORE_PEERS",
    /// Another process kept the lock for too long in the middle of a call.
    TimedOut = "ETIMEDOUT",
}

/// An error: what was wrong, with which value. It is one pointer in size, because it is part of every result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Details>);

/// The parts of an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The JavaScript class.
    pub class: ErrorClass,
    /// For programs.
    pub code: Code,
    /// A sentence for people.
    pub message: Cow<'static, str>,
}

impl Deref for Error {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error.
    #[cold]
    pub fn new(class: ErrorClass, code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Details {
            class,
            code,
            message: message.into(),
        }))
    }

    /// The same error, with a message that says more.
    pub fn with_message(self, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(self.class, self.code, message)
    }

    /// The sentence for people, alone.
    pub fn into_message(self) -> String {
        self.0.message.into_owned()
    }

    /// Whether another process or thread has the lock: the call can be made again.
    pub fn is_busy(&self) -> bool {
        self.code == Code::Busy
    }

    /// The primary has moved the entries of this segment to another one; the primary knows which.
    pub fn moved() -> Self {
        Self::new(
            ErrorClass::Error,
            Code::Moved,
            "the primary has moved the shared store; ask it",
        )
    }

    /// The namespace was destroyed: open it again.
    pub fn gone() -> Self {
        Self::new(
            ErrorClass::Error,
            Code::Gone,
            "the namespace was destroyed: ask for its cache again",
        )
    }

    /// A value of the wrong type or outside what is allowed: `TypeError`, `ERR_INVALID_ARG_TYPE`.
    pub fn argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorClass::TypeError, Code::InvalidArgType, message)
    }

    /// An option that cannot be used: `TypeError`, `ERR_INVALID_ARG_VALUE`.
    pub fn option(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorClass::TypeError, Code::InvalidArgValue, message)
    }

    /// A message from a worker that is not a well-formed request: `Error`, `ERR_BAD_REQUEST`.
    pub fn request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorClass::Error, Code::BadRequest, message)
    }

    /// A command that caches do not have; the text is that of the 1.x API.
    pub fn command(name: &str) -> Self {
        Self::new(
            ErrorClass::Error,
            Code::UnknownCommand,
            format!("LRUCache.{name}() is not a valid function"),
        )
    }

    /// A namespace that no creation message made, or whose creation failed.
    pub fn namespace(name: &str) -> Self {
        Self::new(
            ErrorClass::Error,
            Code::NoNamespace,
            format!("no cache exists in the namespace {name:?}: its creation failed or never arrived"),
        )
    }

    /// This process or the machine has no memory for what was to be stored or read.
    pub fn out_of_memory() -> Self {
        Self::new(
            ErrorClass::Error,
            Code::OutOfMemory,
            "there is no memory left for the entry",
        )
    }

    /// Another process or thread has the lock for longer than the caller waits.
    pub fn busy() -> Self {
        Self::new(
            ErrorClass::Error,
            Code::Busy,
            "another process holds the lock of the shared store; try again",
        )
    }

    /// A call that has removed some entries and could not go on.
    pub fn interrupted(removed: u32) -> Self {
        Self::new(
            ErrorClass::Error,
            Code::TimedOut,
            format!(
                "another process kept the lock of the shared store; {removed} entries were removed before"
            ),
        )
    }

    /// A text that no `scan` gave as its cursor: `TypeError`, `ERR_CURSOR`.
    pub fn cursor() -> Self {
        Self::new(
            ErrorClass::TypeError,
            Code::Cursor,
            "a cursor must be a string that scan gave",
        )
    }

    /// A value that only the process which stored it can read: a JavaScript value kept by reference.
    pub fn elsewhere() -> Self {
        Self::new(
            ErrorClass::Error,
            Code::Elsewhere,
            "the value is a JavaScript value of the primary, which must be asked for it",
        )
    }

    /// The slots in the segment belong to another process, or to another copy of the package.
    pub fn held() -> Self {
        Self::new(
            ErrorClass::Error,
            Code::Held,
            "the shared store belongs to another copy of the package",
        )
    }

    /// This system has no memory that processes share.
    pub fn no_shared_memory() -> Self {
        Self::new(
            ErrorClass::Error,
            Code::NoSharedMemory,
            "caches in shared memory need Linux",
        )
    }

    /// The operating system refused what a schedule needs.
    pub fn schedule(error: &std::io::Error) -> Self {
        Self::new(
            ErrorClass::Error,
            Code::Schedule,
            format!("prune: the scheduler's thread cannot be started: {error}"),
        )
    }

    /// A result that does not fit a message.
    pub fn too_large(bytes: usize) -> Self {
        Self::new(
            ErrorClass::RangeError,
            Code::OutOfRange,
            format!("the result of {bytes} bytes is too large for a message; ask for fewer entries"),
        )
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
