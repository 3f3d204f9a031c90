//! One error type for everything a caller can get wrong. Errors are data: the addon and the handler turn
//! them into a JavaScript error or an error answer, nothing here throws.

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
    /// A message that is not a well-formed request.
    BadRequest = "ERR_BAD_REQUEST",
    /// A command that caches do not have.
    UnknownCommand = "ERR_UNKNOWN_COMMAND",
    /// A namespace that was not made.
    NoNamespace = "ERR_NO_NAMESPACE",
    /// A schedule that cannot be started.
    Schedule = "ERR_SCHEDULE",
    /// Another process or thread has the lock of the store: try again.
    Busy = "ERR_STORE_BUSY",
    /// The value is a JavaScript value of the primary, which must be asked for it.
    Elsewhere = "ERR_STORE_ELSEWHERE",
    /// The primary has moved the store: ask it where to.
    Moved = "ERR_STORE_MOVED",
    /// The store has the JavaScript values of another process, or of another copy of the package.
    Held = "ERR_STORE_HELD",
    /// The system has no shared memory to give, or it cannot be mapped.
    NoSharedMemory = "ERR_STORE_MEMORY",
    /// The system lacks what a store needs at this moment, such as file descriptors: try again later.
    Unavailable = "ERR_STORE_UNAVAILABLE",
    /// The memory holds no store that this version can use.
    Attach = "ERR_STORE_ATTACH",
    /// Processes without a primary cannot look for the store.
    Siblings = "ERR_STORE_PEERS",
}

/// What was wrong, with which value. Small, as it is part of every result: the hot path returns many.
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

    /// The entries of a store that a primary has taken over; it knows where they are.
    pub fn moved() -> Self {
        Self::new(
            ErrorClass::Error,
            Code::Moved,
            "the primary has moved the shared store; ask it",
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

    /// A command the store does not have; the text is that of the 1.x API.
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

    /// Another process (or thread) holds the lock of a store for longer than the caller would wait.
    pub fn busy() -> Self {
        Self::new(
            ErrorClass::Error,
            Code::Busy,
            "another process holds the lock of the shared store; try again",
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

    /// A store with the JavaScript values of another process, or of another copy of the package.
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
