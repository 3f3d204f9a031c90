//! Anonymous memory that other processes of the same user can map: a `memfd`. Another process opens it through
//! `/proc/<pid>/fd/<n>`, or is given it (see [`super::handover`]). It has no name in any directory, and the kernel frees it when the last process that has it ends.
//!
//! The file has its full length from the beginning, and seals forbid every other length. So no address of a mapping ever
//! lies beyond the end of the file. Most of the file is a hole. A page gets memory by `fallocate`, which returns an error
//! where there is none; a page without memory is never used. Before each `fallocate` the headroom is checked.

use rustix::{
    fs::{self, FallocateFlags, MemfdFlags, Mode, SealFlags, SeekFrom},
    io::{Errno, retry_on_intr},
    mm::{Advice, MapFlags, ProtFlags},
    process::{self, Resource},
};
use std::{
    fmt,
    fs::{File, OpenOptions},
    io,
    num::ParseIntError,
    ops::Range,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
    ptr::{self, NonNull},
    str::FromStr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    handover::{Handing, NAME},
    headroom::Headroom,
    kernel::KernelNamespaces,
    memory::{Memory, OutOfMemory},
    refused::{is_temporary, refused},
};
use crate::{
    error::{Code, Error, ErrorClass, Result},
    storage::Mapped,
};

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// The number of mappings of this process.
static MAPPINGS: AtomicUsize = AtomicUsize::new(0);
/// The addresses that the mappings of this process take, in bytes.
static ADDRESSES: AtomicUsize = AtomicUsize::new(0);

/// The number of mappings of this process, and the addresses that they take, in bytes.
pub(super) fn mapped() -> (usize, usize) {
    (MAPPINGS.load(Relaxed), ADDRESSES.load(Relaxed))
}

/// The mapping of a file. It lasts for as long as the segment and every [`Window`] of it.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread; what is read and written in it are atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `Memfd::map` with this length; whatever looks into it has kept it.
        unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len).ok() };
        MAPPINGS.fetch_sub(1, Relaxed);
        ADDRESSES.fetch_sub(self.len, Relaxed);
    }
}

/// A part of a segment's memory that JavaScript looks at. The memory stays mapped for as long as the window lives.
#[derive(Debug)]
pub struct Window {
    mapping: Arc<Mapping>,
    at: usize,
    len: usize,
}

impl Mapped for Window {
    fn base(&self) -> NonNull<u8> {
        // SAFETY: `Memfd::window` has made sure that it lies within the mapping.
        unsafe { self.mapping.base.add(self.at) }
    }

    fn bytes(&self) -> usize {
        self.len
    }
}

/// A mapped `memfd`.
#[derive(Debug)]
pub struct Memfd {
    /// While the file is handed over to siblings. First: it ends before the file is closed.
    handing: OnceLock<Handing>,
    file: Arc<OwnedFd>,
    mapping: Arc<Mapping>,
    headroom: &'static Headroom,
    /// The namespaces of this process. They are those of the process that made the memory.
    namespaces: KernelNamespaces,
}

/// What a process needs to attach the memory of another process. A ticket is no secret: the kernel lets only those
/// processes attach that may open the files of the other process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The process that has the memory open.
    pub pid: u32,
    /// The number of the file descriptor in that process.
    pub fd: u32,
    /// The namespaces of that process.
    pub namespaces: KernelNamespaces,
    /// The nonce of the segment. Process ids and descriptor numbers come again; the nonce does not.
    pub nonce: [u64; 2],
}

const CODE: Code = Code::NoSharedMemory;
const NOT_MADE: &str = "no shared memory";

fn failed(what: &str, why: impl fmt::Display) -> Error {
    Error::new(ErrorClass::Error, CODE, format!("{what}: {why}"))
}

const UNATTACHED: &str = "cannot attach the shared memory";

/// The error where the system refuses to let this process map memory.
fn unattached(why: impl Into<io::Error>) -> Error {
    refused(CODE, UNATTACHED, &why.into())
}

fn own_user() -> u32 {
    process::geteuid().as_raw()
}

fn open(pid: u32, fd: u32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(format!("/proc/{pid}/fd/{fd}"))
}

/// The name of the memory that a link in a `/proc/<pid>/fd` points to; `None` if this package did not make it.
pub(super) fn name_of(link: impl AsRef<Path>) -> Option<String> {
    let target = link.as_ref().read_link().ok()?;
    let name = target.to_str()?.strip_prefix("/memfd:")?.strip_prefix(NAME)?;
    Some(name.strip_suffix(" (deleted)")?.to_owned())
}

/// Whether a link in a `/proc/<pid>/fd` points to memory that this package made.
pub(super) fn names_segment(link: impl AsRef<Path>) -> bool {
    name_of(link).is_some()
}

impl Memfd {
    /// Makes a file of `len` bytes, a whole number of pages, and maps it. `name` is part of what its link in
    /// `/proc/<pid>/fd` shows.
    ///
    /// # Errors
    /// The system has no `memfd`, or no addresses for that many bytes; or this process cannot read its namespaces.
    pub fn create(len: usize, name: &str) -> Result<Self> {
        let no = |why: Errno| refused(CODE, NOT_MADE, &why.into());
        let namespaces = KernelNamespaces::own().map_err(|why| refused(CODE, NOT_MADE, &why))?;
        // A file that becomes longer than this limit ends the process by a signal.
        if process::getrlimit(Resource::Fsize)
            .current
            .is_some_and(|most| most < len as u64)
        {
            return Err(no(Errno::FBIG));
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let name = format!("{NAME}{name}");
        let file = match fs::memfd_create(&name, flags | MemfdFlags::NOEXEC_SEAL) {
            // Kernels before 6.3 do not have this flag.
            Err(Errno::INVAL) => fs::memfd_create(&name, flags),
            made => made,
        };
        let file = file.map_err(no)?;
        fs::fchmod(&file, Mode::RUSR | Mode::WUSR).map_err(no)?;
        fs::ftruncate(&file, len as u64).map_err(no)?;
        fs::fcntl_add_seals(&file, SEALS).map_err(no)?;
        let memfd = Self::map(file, len, namespaces).map_err(no)?;
        // Where the system reports holes as data, a rebuild would read the whole file.
        if memfd.written(0..len) != 0 {
            return Err(no(Errno::NOTSUP));
        }
        Ok(memfd)
    }

    /// Maps the memory of a ticket. Its contents are not checked here.
    ///
    /// # Errors
    /// The process or the file is gone, or this process may not map the file, or it was not made by this package; or this
    /// process has other namespaces, or cannot read its namespaces.
    pub fn attach(ticket: &Ticket) -> Result<Self> {
        let own = KernelNamespaces::own().map_err(unattached)?;
        own.check(ticket.namespaces)
            .map_err(|why| failed(UNATTACHED, why))?;
        let file = open(ticket.pid, ticket.fd).map_err(unattached)?;
        Self::over(file.into(), own)
    }

    /// Maps a file of a process. `None` if the file is gone, or is not memory of this user with that name.
    ///
    /// # Errors
    /// The file is that memory, but cannot be mapped; or this process cannot read its namespaces.
    pub(super) fn attach_named(pid: u32, fd: u32, name: &str) -> Result<Option<Self>> {
        match open(pid, fd) {
            Ok(file) => Self::attach_file(file.into(), name),
            // A temporary refusal says nothing about the file. It may be the right one.
            Err(why) if is_temporary(&why) => Err(unattached(why)),
            Err(_) => Ok(None),
        }
    }

    /// Maps an open file. `None` if the file is not memory of this user with that name.
    ///
    /// # Errors
    /// The file is that memory, but cannot be mapped; or this process cannot read its namespaces.
    pub(super) fn attach_file(file: OwnedFd, name: &str) -> Result<Option<Self>> {
        // A descriptor number may be that of another file by now. An open descriptor stays the same file.
        let is_it = name_of(format!("/proc/self/fd/{}", file.as_raw_fd())).as_deref() == Some(name);
        if is_it && fs::fstat(&file).is_ok_and(|found| found.st_uid == own_user()) {
            let own = KernelNamespaces::own().map_err(unattached)?;
            Self::over(file, own).map(Some)
        } else {
            Ok(None)
        }
    }

    fn over(file: OwnedFd, namespaces: KernelNamespaces) -> Result<Self> {
        let found = fs::fstat(&file).map_err(unattached)?;
        if found.st_uid != own_user() {
            return Err(failed(UNATTACHED, "it is another user's"));
        }
        let sealed = fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SEALS));
        let len = usize::try_from(found.st_size)
            .ok()
            .filter(|len| sealed && *len > 0);
        let Some(len) = len else {
            return Err(failed(UNATTACHED, "it is no memory of this package"));
        };
        Self::map(file, len, namespaces).map_err(unattached)
    }

    /// The file, for a hand-over.
    pub(super) fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// Keeps a hand-over of this file for as long as the file is open here.
    pub(super) fn keep(&self, handing: Handing) {
        // There is at most one: whoever has attached the memory calls this once.
        self.handing.set(handing).ok();
    }

    fn map(file: OwnedFd, len: usize, namespaces: KernelNamespaces) -> rustix::io::Result<Self> {
        let (access, flags) = (
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED | MapFlags::NORESERVE,
        );
        // SAFETY: a new mapping at an address that the kernel chooses, so it replaces no other mapping.
        let base = unsafe { rustix::mm::mmap(ptr::null_mut(), len, access, flags, &file, 0)? };
        MAPPINGS.fetch_add(1, Relaxed);
        ADDRESSES.fetch_add(len, Relaxed);
        let memfd = Self {
            handing: OnceLock::new(),
            file: Arc::new(file),
            mapping: Arc::new(Mapping {
                base: NonNull::new(base.cast()).ok_or(Errno::NOMEM)?,
                len,
            }),
            headroom: Headroom::of_this_process(),
            namespaces,
        };
        // A core dump would read every page of the mapping, and reading gives each page memory.
        // SAFETY: the range is the mapping just made. The advice does not change its contents.
        unsafe { rustix::mm::madvise(base, len, Advice::LinuxDontDump) }?;
        Ok(memfd)
    }

    /// A part of the memory; `None` where it does not lie within.
    pub fn window(&self, range: Range<usize>) -> Option<Window> {
        (range.start <= range.end && range.end <= self.mapping.len).then(|| Window {
            mapping: self.mapping.clone(),
            at: range.start,
            len: range.len(),
        })
    }

    /// The ticket by which another process attaches this memory.
    pub fn ticket(&self, nonce: [u64; 2]) -> Ticket {
        Ticket {
            pid: std::process::id(),
            fd: self.file.as_raw_fd() as u32,
            namespaces: self.namespaces,
            nonce,
        }
    }

    /// The bytes of memory that the file has, by the kernel's count.
    pub fn committed(&self) -> u64 {
        fs::fstat(&self.file).map_or(0, |stat| stat.st_blocks as u64 * 512)
    }
}

// SAFETY: until drop, `base` is a page-aligned mapping of `len` bytes. The file has that length, and its seals forbid a
// shorter one, so each page can be read and written. Fresh pages are 0. In this process only this type maps the file.
unsafe impl Memory for Memfd {
    fn base(&self) -> NonNull<u8> {
        self.mapping.base
    }

    fn len(&self) -> usize {
        self.mapping.len
    }

    fn commit(&self, range: Range<usize>) -> std::result::Result<(), OutOfMemory> {
        if range.end > self.mapping.len {
            return Err(OutOfMemory);
        }
        let (from, len) = (range.start as u64, range.len() as u64);
        if !self.headroom.has(len) {
            return Err(OutOfMemory);
        }
        let all = FallocateFlags::empty();
        retry_on_intr(|| fs::fallocate(&self.file, all, from, len)).map_err(|_| OutOfMemory)
    }

    fn decommit(&self, range: Range<usize>) {
        let (from, len) = (range.start as u64, range.len() as u64);
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if len > 0 {
            // Where the system refuses, the range keeps its memory, and the segment uses it again.
            retry_on_intr(|| fs::fallocate(&self.file, hole, from, len)).ok();
        }
    }

    fn written(&self, range: Range<usize>) -> usize {
        // Pages that have memory but were never written count as a hole, too.
        match fs::seek(&self.file, SeekFrom::Hole(range.start as u64)) {
            Ok(hole) => (hole as usize).clamp(range.start, range.end) - range.start,
            Err(_) => range.len(),
        }
    }

    fn taken(&self) -> u64 {
        self.committed()
    }

    fn namespaces(&self) -> KernelNamespaces {
        self.namespaces
    }
}

/// `pid:fd:PID namespace:time namespace:nonce`. The nonce is the last part, in hexadecimal digits: JavaScript compares it to
/// see whether two tickets name one segment.
impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.nonce;
        let KernelNamespaces { pid, time } = self.namespaces;
        write!(f, "{}:{}:{pid}:{time}:{a:016x}{b:016x}", self.pid, self.fd)
    }
}

impl FromStr for Ticket {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let no = |_: ParseIntError| Error::request("not a ticket");
        let mut parts = text.splitn(5, ':');
        let mut part = || parts.next().unwrap_or_default();
        let (pid, fd) = (part().parse().map_err(no)?, part().parse().map_err(no)?);
        let namespaces = KernelNamespaces {
            pid: part().parse().map_err(no)?,
            time: part().parse().map_err(no)?,
        };
        let nonce = u128::from_str_radix(part(), 16).map_err(no)?;
        Ok(Self {
            pid,
            fd,
            namespaces,
            nonce: [(nonce >> 64) as u64, nonce as u64],
        })
    }
}
