//! What the operating system says when it refuses something that a store needs. Here is decided which refusals pass
//! by themselves: whoever was refused for such a reason tries again.

use procfs::ProcError;
use std::io;

use crate::error::{Code, Error, ErrorClass};

/// Whether a refusal passes: this process or the system lacks descriptors or memory at this moment. Every other
/// refusal is about what was asked for, and stays.
pub(super) fn passes(why: &io::Error) -> bool {
    matches!(
        why.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
    )
}

/// The error of a refusal: `ERR_STORE_UNAVAILABLE` where the refusal passes, `code` where it stays. The message says what
/// the system said, and what helps.
pub(super) fn refused(code: Code, what: &str, why: &io::Error) -> Error {
    let code = if passes(why) { Code::Unavailable } else { code };
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
        let code = |errno| refused(Code::Attach, "no", &io::Error::from_raw_os_error(errno)).code;
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS] {
            assert_eq!(code(errno), Code::Unavailable, "{errno}");
            let wrapped = ProcError::from(io::Error::from_raw_os_error(errno));
            assert!(passes(&of_proc(wrapped)), "{errno}");
        }
        for errno in [libc::EACCES, libc::EPERM, libc::ENOENT, libc::ENOSYS, libc::EFBIG] {
            assert_eq!(code(errno), Code::Attach, "{errno}");
            let wrapped = ProcError::from(io::Error::from_raw_os_error(errno));
            assert!(!passes(&of_proc(wrapped)), "{errno}");
        }
    }
}
