//! What the operating system says when it refuses something that a store needs. Here is decided which refusals pass
//! by themselves: whoever was refused for such a reason tries again.

use procfs::ProcError;
use std::io;

use crate::error::{Error, ErrorClass};

/// Whether a refusal passes: this process or the system lacks descriptors or memory at this moment. Every other
/// refusal is about what was asked for, and stays.
pub(super) fn passes(why: &io::Error) -> bool {
    matches!(
        why.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
    )
}

/// The error of a refusal: `ERR_STORE_UNAVAILABLE` where the refusal passes, `code` where it stays.
pub(super) fn refused(code: &'static str, what: &str, why: &io::Error) -> Error {
    Error {
        class: ErrorClass::Error,
        code: if passes(why) {
            "ERR_STORE_UNAVAILABLE"
        } else {
            code
        },
        message: format!("{what}: {why}").into(),
    }
}

/// The system's error within an error of `procfs`.
pub(super) fn of_proc(why: ProcError) -> io::Error {
    match why {
        ProcError::Io(why, _) => why,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_lacks_passes_and_what_it_forbids_stays() {
        let code = |errno| refused("ERR_STORE_X", "no", &io::Error::from_raw_os_error(errno)).code;
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS] {
            assert_eq!(code(errno), "ERR_STORE_UNAVAILABLE", "{errno}");
            let wrapped = ProcError::from(io::Error::from_raw_os_error(errno));
            assert!(passes(&of_proc(wrapped)), "{errno}");
        }
        for errno in [libc::EACCES, libc::EPERM, libc::ENOENT, libc::ENOSYS, libc::EFBIG] {
            assert_eq!(code(errno), "ERR_STORE_X", "{errno}");
            let wrapped = ProcError::from(io::Error::from_raw_os_error(errno));
            assert!(!passes(&of_proc(wrapped)), "{errno}");
        }
    }
}
