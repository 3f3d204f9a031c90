//! Refusals: errors of the operating system while a process makes, attaches or looks for a segment. This module decides
//! which of them are temporary. After a temporary refusal the caller tries again.

use procfs::ProcError;
use std::io;

use crate::error::{Code, Error, ErrorClass};

/// Whether a refusal is temporary: this process or the system lacks descriptors or memory at this moment. All other
/// refusals are permanent.
pub(super) fn is_temporary(why: &io::Error) -> bool {
    matches!(
        why.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
    )
}

/// The error of a refusal: `ERR_STORE_UNAVAILABLE` for a temporary one, `code` for a permanent one. The message has the
/// system's reason and what the user can do.
pub(super) fn refused(code: Code, what: &str, why: &io::Error) -> Error {
    let code = if is_temporary(why) {
        Code::Unavailable
    } else {
        code
    };
    let help = match why.raw_os_error() {
        Some(libc::EMFILE) => {
            "; each namespace in shared memory takes a file of the process: raise `ulimit -n`"
        }
        Some(libc::ENFILE) => {
            "; each namespace in shared memory takes a file: raise the system's fs.file-max"
        }
        Some(libc::ENOMEM) => {
            "; each namespace reserves addresses, in one piece: see `ulimit -v` and the system's vm.max_map_count"
        }
        _ => "",
    };
    Error::new(ErrorClass::Error, code, format!("{what}: {why}{help}"))
}

/// The error of the operating system inside an error of `procfs`.
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
    fn lack_is_temporary_and_what_is_forbidden_is_permanent() {
        let code = |errno| refused(Code::Attach, "no", &io::Error::from_raw_os_error(errno)).code;
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS] {
            assert_eq!(code(errno), Code::Unavailable, "{errno}");
            let wrapped = ProcError::from(io::Error::from_raw_os_error(errno));
            assert!(is_temporary(&of_proc(wrapped)), "{errno}");
        }
        for errno in [libc::EACCES, libc::EPERM, libc::ENOENT, libc::ENOSYS, libc::EFBIG] {
            assert_eq!(code(errno), Code::Attach, "{errno}");
            let wrapped = ProcError::from(io::Error::from_raw_os_error(errno));
            assert!(!is_temporary(&of_proc(wrapped)), "{errno}");
        }
    }
}
