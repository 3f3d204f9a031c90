//! Siblings: workers of one application that have no primary of this package, for example under a process manager. This
//! module finds the segment of a namespace among siblings, or makes it. There is no file in a directory, and nothing is
//! left behind.
//!
//! The memory has a name (see [`Memfd::create`]) that is made of what all siblings know. The processes that have the
//! segment hand it over at an abstract socket address made of the same name: see [`super::handover`], which has the
//! states and what may go wrong. Where nobody listens there, one process at a time, the one that has bound the address,
//! makes the segment.
//!
//! `/proc` is read where sockets do not reach. Then a process looks at the open files of its siblings, which are the
//! children of the same parent, for one of that name:
//! - before it makes a segment, because an abstract address belongs to a network namespace: siblings in another one may
//!   have the segment. Siblings in several network namespaces that look at the same moment do not exclude each other;
//! - where nobody answers in time, because all that have the segment are stopped;
//! - where the address is another process's (it is no secret), or the system lets this process have no socket.
//!
//! A process that has found the segment in the last two ways does not serve others: it has not got the listening socket.
//!
//! Where `/proc` shows nothing either, the process makes no segment: it could be the second one. It tries again later.

use procfs::{
    ProcError, ProcResult,
    process::{Process, all_processes},
};
use rustix::process::{Pid, geteuid, getppid};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::{
    env::consts::ARCH,
    fmt, fs,
    hash::Hasher,
    io, iter, process,
    time::{Duration, Instant},
};

use super::{
    Segment,
    handover::{Address, Answer, Handing, STRANGE, Turn, ask},
    kernel::KernelNamespaces,
    layout::VERSION,
    memfd::{Memfd, name_of},
    refused::{is_temporary, of_proc, refused},
};
use crate::error::{Code, Error, ErrorClass, Result};

/// How long a call waits for the processes that have the segment. A thread of theirs answers, within a millisecond where
/// the machine has a processor for it.
const PATIENCE: Duration = Duration::from_millis(100);

/// Attaches the segment of a namespace, for [`crate::store::Store::open`], that the children of `parent` (a process id) with the same `identity` share. Makes
/// the segment, as [`Segment::make`] does, where no child has it. The function waits for a tenth of a second at most.
///
/// # Errors
/// - The system has no shared memory, or does not let processes find each other.
/// - There is a segment, but this process cannot attach it, or a primary has taken over its entries. The function never
///   makes a second segment beside it.
/// - `ERR_STORE_BUSY`: another process looks for the segment at this moment; try again.
/// - `ERR_STORE_UNAVAILABLE` and `ERR_OUT_OF_MEMORY`: the reason passes by itself; try again.
pub fn open(identity: &str, namespace: &str, parent: u32) -> Result<Segment<Memfd>> {
    // The lock needs the /proc of this PID namespace.
    let own = KernelNamespaces::own().map_err(unlooked)?;
    let name = name(identity, namespace, parent, own);
    let address = Address::new(geteuid().as_raw(), &name).map_err(unlooked)?;
    let unreached = match ask(&address, Instant::now() + PATIENCE) {
        Ok(Answer::Given {
            file,
            listener,
            namespaces,
        }) => {
            own.check(namespaces).map_err(unattached)?;
            match Memfd::attach_file(file, &name)? {
                Some(memory) => {
                    let file = memory.file().clone();
                    memory.keep(Handing::begin(address, file, listener, namespaces).map_err(unlooked)?);
                    return attached(memory);
                }
                None => unanswered(STRANGE),
            }
        }
        Ok(Answer::Nobody) => match Turn::take(&address) {
            Ok(Some(turn)) => return find_or_make(turn, &name, parent, own),
            Ok(None) => {
                let message = "another process looks for the shared store; try again";
                return Err(Error::busy().with_message(message));
            }
            Err(why) => lasting(why)?,
        },
        Ok(Answer::None(why)) => unanswered(why),
        Err(why) => lasting(why)?,
    };
    // No turn: this process must not make a segment.
    find(&name, parent)?.ok_or(unreached)
}

/// Finds the segment in `/proc`, or makes it, and hands it over from then on.
fn find_or_make(turn: Turn, name: &str, parent: u32, own: KernelNamespaces) -> Result<Segment<Memfd>> {
    let segment = match find(name, parent)? {
        Some(segment) => segment,
        None => {
            let mut made = Segment::make(name)?;
            // There is no namespace in it before its first process opens it.
            made.end_life();
            made
        }
    };
    let memory = segment.memory();
    // Where this fails, the segment goes with the turn.
    memory.keep(turn.listen(memory.file().clone(), own).map_err(unlooked)?);
    Ok(segment)
}

/// The segment in a memory, unless a primary has taken over its entries.
fn attached(memory: Memfd) -> Result<Segment<Memfd>> {
    let mut segment = Segment::attach(memory, None)?;
    match segment.lock_to_open(Duration::ZERO) {
        Ok((locked, _)) => segment.unlock(locked),
        Err(error) if error.code == Code::Moved => return Err(error),
        Err(_) => {}
    }
    Ok(segment)
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
/// hexadecimal digits. The PID namespace is part of it, because containers that share a network namespace may have the
/// same parent's id.
fn name(identity: &str, namespace: &str, parent: u32, own: KernelNamespaces) -> String {
    let mut hasher = SipHasher24::new();
    hasher.write(&VERSION.to_le_bytes());
    hasher.write(&own.pid.to_le_bytes());
    hasher.write(&parent.to_le_bytes());
    for part in [ARCH, identity, namespace] {
        // With their lengths, ("a", "bc") and ("ab", "c") differ.
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part.as_bytes());
    }
    format!("{:032x}", hasher.finish128().as_u128())
}

/// Finds the segment of a name among the open files of siblings, in `/proc`. `None` also where `/proc` does not show the
/// siblings.
fn find(name: &str, parent: u32) -> Result<Option<Segment<Memfd>>> {
    for found in find_files(name, parent)? {
        let (pid, fd) = found?;
        if let Some(memory) = Memfd::attach_named(pid, fd, name)? {
            return attached(memory).map(Some);
        }
    }
    Ok(None)
}

/// The files of a name that this process and its siblings (children of `parent`, of the same user) have open: process ids
/// and descriptor numbers. Processes that have ended meanwhile, and those that this process may not look at, are left out.
/// A process that cannot be looked at for lack of descriptors or memory is an error, because it may have the file.
fn find_files(name: &str, parent: u32) -> Result<impl Iterator<Item = Result<(u32, u32)>>> {
    // All processes are looked at: the kernel's list of children may be incomplete while some of them end.
    let all = seen(all_processes())?.into_iter().flatten();
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

/// The error where the system lets this process have no socket.
///
/// # Errors
/// The same, where it is temporary: a later call is to ask first.
fn lasting(why: io::Error) -> Result<Error> {
    let is_temporary = is_temporary(&why);
    let error = unlooked(why);
    if is_temporary { Err(error) } else { Ok(error) }
}

/// The error where a process listens, but hands over nothing: that may pass.
fn unanswered(why: &str) -> Error {
    Error::new(ErrorClass::Error, Code::Unavailable, format!("{UNLOOKED}: {why}"))
}

/// The error where a segment was handed over that this process may not attach.
fn unattached(why: &str) -> Error {
    let message = format!("cannot attach the shared store: {why}");
    Error::new(ErrorClass::Error, Code::Attach, message)
}

#[cfg(test)]
#[path = "tests/siblings.rs"]
mod tests;
