//! Siblings: workers of one application that have no primary of this package, for example under a process manager. This
//! module finds the segment of a namespace among siblings, or makes it. There is no file in a directory, and no message.
//!
//! The memory has a name (see [`Memfd::create`]) that is made of what all siblings know. A process that needs the segment
//! looks at the open files of its siblings, which are the children of the same parent, for one of that name. Where there
//! is none, the process makes the segment. Only one process at a time looks and makes: the one that has bound an abstract
//! socket address made of the same name. The kernel frees the address when its process ends, in whatever way. So nothing
//! is left behind, and a segment that is found is in use.
//!
//! An abstract address belongs to a network namespace: siblings in several network namespaces do not exclude each other.
//! The address is no secret. Another user who binds it keeps the siblings from looking; they try again until they give up.

use procfs::{
    ProcError, ProcResult,
    process::{Process, all_processes},
};
use rustix::process::{DumpableBehavior, Pid, dumpable_behavior, geteuid, getppid};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::{
    env::consts::ARCH,
    fmt, fs,
    hash::Hasher,
    io::{self, ErrorKind},
    iter,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process,
    time::Duration,
};

use super::{
    Segment,
    kernel::KernelNamespaces,
    layout::VERSION,
    memfd::{Memfd, NAME, name_of},
    refused::{is_temporary, of_proc, refused},
};
use crate::error::{Code, Error, ErrorClass, Result};

/// Attaches the segment of a namespace that the children of `parent` (a process id) with the same `identity` share. Makes
/// the segment, as [`Segment::make`] does, where no child has it. Returns `None` while another process looks for the
/// segment: try again. The function never waits.
///
/// # Errors
/// - The system has no shared memory, or does not let processes look at each other's files.
/// - There is a segment, but this process cannot attach it, or a primary has taken over its entries. The function never
///   makes a second segment beside it.
/// - `ERR_STORE_UNAVAILABLE` and `ERR_OUT_OF_MEMORY`: the reason passes by itself; try again.
pub fn open(identity: &str, namespace: &str, parent: u32) -> Result<Option<Segment<Memfd>>> {
    // The siblings cannot look at the files of a process that changed its user or has privileges of its own. Each such
    // process would make a segment for itself.
    if !matches!(dumpable_behavior(), Ok(DumpableBehavior::Dumpable)) {
        return Err(failed(&"other processes may not look into this one"));
    }
    // The same is true without /proc, and with the /proc of another PID namespace.
    KernelNamespaces::own().map_err(unlooked)?;
    let name = name(identity, namespace);
    let Some(_turn) = Turn::take(&name)? else {
        return Ok(None);
    };
    for found in find(&name, parent)? {
        let (pid, fd) = found?;
        let Some(memory) = Memfd::attach_named(pid, fd, &name)? else {
            continue;
        };
        let mut segment = Segment::attach(memory, None)?;
        match segment.lock(Duration::ZERO) {
            Ok((locked, _)) => segment.unlock(locked),
            Err(error) if error.code == Code::Moved => return Err(error),
            Err(_) => {}
        }
        return Ok(Some(segment));
    }
    Segment::make(&name).map(Some)
}

/// When a process started, in clock ticks since the machine started. Process ids come again; an id with this number names
/// one process. `None` if there is no such process.
///
/// # Errors
/// This process lacks descriptors or memory to find out.
pub fn start_time(pid: u32) -> Result<Option<u64>> {
    let Ok(pid) = i32::try_from(pid) else {
        return Ok(None);
    };
    seen(Process::new(pid).and_then(|process| Ok(process.stat()?.starttime)))
}

/// The name of a segment's memory: a hash of all that processes must have in common to share the segment, 128 bits as
/// hexadecimal digits.
fn name(identity: &str, namespace: &str) -> String {
    let mut hasher = SipHasher24::new();
    hasher.write(&VERSION.to_le_bytes());
    for part in [ARCH, identity, namespace] {
        // With their lengths, ("a", "bc") and ("ab", "c") differ.
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part.as_bytes());
    }
    format!("{:032x}", hasher.finish128().as_u128())
}

/// The right to look for a segment and to make it: a bound socket. At most one process has it for a name.
#[derive(Debug)]
struct Turn(#[expect(dead_code, reason = "the address is bound until this is dropped")] UnixDatagram);

impl Turn {
    /// Takes the turn. `None` where another process or thread has it.
    fn take(name: &str) -> Result<Option<Self>> {
        let address = format!("{NAME}{}:{name}", geteuid().as_raw());
        let bound = SocketAddr::from_abstract_name(address).and_then(|at| UnixDatagram::bind_addr(&at));
        match bound {
            Ok(socket) => Ok(Some(Self(socket))),
            Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(unlooked(error)),
        }
    }
}

/// The files of a name that this process and its siblings (children of `parent`, of the same user) have open: process ids
/// and descriptor numbers. Processes that have ended meanwhile, and those that this process may not look at, are left out.
/// A process that cannot be looked at for lack of descriptors or memory is an error, because it may have the file.
fn find(name: &str, parent: u32) -> Result<impl Iterator<Item = Result<(u32, u32)>>> {
    // All processes are looked at: the kernel's list of children may be incomplete while some of them end.
    let all = all_processes().map_err(|error| unlooked(of_proc(error)))?;
    let user = geteuid().as_raw();
    let is_sibling = move |process: &Process| {
        Ok::<_, ProcError>(process.uid()? == user && u32::try_from(process.stat()?.ppid) == Ok(parent))
    };
    let siblings = all.filter_map(move |process| {
        let sibling = process.and_then(|process| Ok(is_sibling(&process)?.then(|| process.pid())));
        let pid = seen(sibling).map(|sibling| u32::try_from(sibling.flatten()?).ok());
        pid.transpose()
    });
    // This process too: another copy of the package in it may have the file.
    let all = iter::once(Ok(process::id())).chain(siblings);
    Ok(all.flat_map(move |pid| {
        let found = pid.and_then(|pid| Ok((pid, files(name, pid)?)));
        let (pid, files, error) = match found {
            Ok((pid, files)) => (pid, files, None),
            Err(error) => (0, Vec::new(), Some(Err(error))),
        };
        files.into_iter().map(move |fd| Ok((pid, fd))).chain(error)
    }))
}

/// The descriptor numbers of the files of a name that a process has open.
fn files(name: &str, pid: u32) -> Result<Vec<u32>> {
    let links = seen(fs::read_dir(format!("/proc/{pid}/fd")).map_err(ProcError::from))?;
    let links = links.into_iter().flatten().flatten();
    let found = links.filter(|link| name_of(link.path()).as_deref() == Some(name));
    Ok(found
        .filter_map(|link| link.file_name().to_str()?.parse().ok())
        .collect())
}

/// Turns what was read about a process into `None` where the process has ended or this process may not look at it.
fn seen<T>(result: ProcResult<T>) -> Result<Option<T>> {
    match result.map_err(of_proc) {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_temporary(&error) => Err(unlooked(error)),
        Err(_) => Ok(None),
    }
}

/// Whether a process is the present parent of this one.
pub fn is_parent(pid: u32) -> bool {
    u32::try_from(Pid::as_raw(getppid())) == Ok(pid)
}

const CODE: Code = Code::Siblings;
const UNLOOKED: &str = "cannot look for the shared store";

/// The error of a process that cannot look for a segment.
pub fn failed(why: &dyn fmt::Display) -> Error {
    Error::new(ErrorClass::Error, CODE, format!("{UNLOOKED}: {why}"))
}

/// The error where the system refuses to let this process look for a segment.
fn unlooked(why: io::Error) -> Error {
    refused(CODE, UNLOOKED, &why)
}

#[cfg(test)]
#[path = "tests/siblings.rs"]
mod tests;
