//! How processes find the segment of a namespace that have no primary of ours to ask: workers of one application
//! under a process manager. There is no file and no message.
//!
//! The memory itself has a name (see [`Memfd::create`]), made of what the processes agree on. Whoever needs it
//! looks through the files of its siblings, the children of the same parent, for one of that name; where there is
//! none, it makes one. Only one process at a time may look and make: whose turn it is is said by an abstract
//! socket address, which one process can have and which is free again when that process ends, in whatever way.
//! So nothing is left behind and nothing can be stale: what is found is in use.
//!
//! The address is one of the network namespace: children of one parent in several of those would not keep each
//! other out. It is no secret: another user who takes it keeps us out, which looks like a turn that never ends.

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
    refused::{of_proc, passes, refused},
};
use crate::error::{Code, Error, ErrorClass, Result};

/// The segment of a namespace that this process shares with the other children of `parent` (a process id) which
/// say the same `identity`: theirs, or a new one (as [`Segment::make`]). `None`
/// while another process looks for it: try again in a moment. It never waits.
///
/// # Errors
/// There is no shared memory on this system; or processes must not look into each other; or there is a segment,
/// and it cannot be attached, or a primary has taken over what was in it. A second one is never made beside it.
/// `ERR_STORE_UNAVAILABLE` and `ERR_OUT_OF_MEMORY` pass by themselves: try again.
pub fn open(identity: &str, namespace: &str, parent: u32) -> Result<Option<Segment<Memfd>>> {
    // A process that changed its user, or has privileges of its own, is closed to the others. Each would make a
    // segment for itself.
    if !matches!(dumpable_behavior(), Ok(DumpableBehavior::Dumpable)) {
        return Err(failed(&"other processes may not look into this one"));
    }
    // So it is where there is no /proc, or that of other processes.
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

/// When a process started, in ticks since the machine did: with its id, this tells it from any other. `None` if
/// there is no such process.
///
/// # Errors
/// Nobody can tell for lack of descriptors or memory.
pub fn start_time(pid: u32) -> Result<Option<u64>> {
    let Ok(pid) = i32::try_from(pid) else {
        return Ok(None);
    };
    seen(Process::new(pid).and_then(|process| Ok(process.stat()?.starttime)))
}

/// The name of a segment's memory: 128 bits as hexadecimal digits, of all that processes must agree on to share
/// it.
fn name(identity: &str, namespace: &str) -> String {
    let mut hasher = SipHasher24::new();
    hasher.write(&VERSION.to_le_bytes());
    for part in [ARCH, identity, namespace] {
        // The length keeps parts apart.
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part.as_bytes());
    }
    format!("{:032x}", hasher.finish128().as_u128())
}

/// The right to look for a segment and to make it.
#[derive(Debug)]
struct Turn(#[expect(dead_code, reason = "held, not used")] UnixDatagram);

impl Turn {
    /// `None`: another process or thread has it.
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

/// Files of that name, as process id and file number, of this process and of its user's other children of
/// `parent`. Processes and files come and go meanwhile, and some cannot be read: those are not found. One that cannot
/// be read for lack of descriptors or memory is an error: it may be the one that has the file.
fn find(name: &str, parent: u32) -> Result<impl Iterator<Item = Result<(u32, u32)>>> {
    // All processes: the kernel's own list of children may leave some out while others end.
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
    // This process, too, for another copy of the package in it.
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

/// The numbers of the files of that name that a process has open.
fn files(name: &str, pid: u32) -> Result<Vec<u32>> {
    let links = seen(fs::read_dir(format!("/proc/{pid}/fd")).map_err(ProcError::from))?;
    let links = links.into_iter().flatten().flatten();
    let found = links.filter(|link| name_of(link.path()).as_deref() == Some(name));
    Ok(found
        .filter_map(|link| link.file_name().to_str()?.parse().ok())
        .collect())
}

/// What was seen of a process; `None` where there is none, or none that this one may look at.
fn seen<T>(result: ProcResult<T>) -> Result<Option<T>> {
    match result.map_err(of_proc) {
        Ok(found) => Ok(Some(found)),
        Err(error) if passes(&error) => Err(unlooked(error)),
        Err(_) => Ok(None),
    }
}

/// Whether a process is still the parent of this one.
pub fn is_parent(pid: u32) -> bool {
    u32::try_from(Pid::as_raw(getppid())) == Ok(pid)
}

const CODE: Code = Code::Siblings;
const UNLOOKED: &str = "cannot look for the shared store";

/// Says why no segment can be looked for.
pub fn failed(why: &dyn fmt::Display) -> Error {
    Error::new(ErrorClass::Error, CODE, format!("{UNLOOKED}: {why}"))
}

/// The system does not let this process look.
fn unlooked(why: io::Error) -> Error {
    refused(CODE, UNLOOKED, &why)
}

#[cfg(test)]
#[path = "tests/siblings.rs"]
mod tests;
