//! Anonymous memory that other processes of the same user can map: a `memfd`, found through
//! `/proc/<pid>/fd/<n>`. It has no name in any directory and goes when the last process that maps it does.
//!
//! The file has its full length from the beginning and is sealed against any other, so no address of the
//! mapping can ever lie beyond its end. It is a hole for the most part: memory is behind a page once it was
//! asked for with `fallocate`, which says so when there is none; and it is asked for only where there
//! is room (see `headroom`).

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
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::Path,
    ptr::{self, NonNull},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    headroom::Headroom,
    kernel::KernelNamespaces,
    memory::{Memory, OutOfMemory},
    refused::{passes, refused},
};
use crate::error::{Code, Error, ErrorClass, Result};

/// What the names of all our files begin with.
pub(super) const NAME: &str = "lru-cache-for-clusters:";

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// The mappings of this process, and the addresses that they take, in bytes.
static MAPPINGS: AtomicUsize = AtomicUsize::new(0);
static ADDRESSES: AtomicUsize = AtomicUsize::new(0);

/// How many mappings this process has, and how many bytes of addresses they take.
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

impl Window {
    /// Where it starts.
    pub fn base(&self) -> NonNull<u8> {
        // SAFETY: `Memfd::window` has made sure that it lies within the mapping.
        unsafe { self.mapping.base.add(self.at) }
    }

    /// How long it is, in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A mapped `memfd`.
#[derive(Debug)]
pub struct Memfd {
    file: OwnedFd,
    mapping: Arc<Mapping>,
    headroom: &'static Headroom,
    /// Those of this process.
    namespaces: KernelNamespaces,
}

/// What a process needs to attach the memory of another. It is no secret: whoever may look into the other
/// process may attach, and nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The process that holds it.
    pub pid: u32,
    /// The number of the file there.
    pub fd: u32,
    /// The namespaces that the number of the process is of.
    pub namespaces: KernelNamespaces,
    /// The nonce of the segment: process and file numbers come again.
    pub nonce: [u64; 2],
}

const CODE: Code = Code::NoSharedMemory;
const NOT_MADE: &str = "no shared memory";

fn failed(what: &str, why: impl fmt::Display) -> Error {
    Error::new(ErrorClass::Error, CODE, format!("{what}: {why}"))
}

const UNATTACHED: &str = "cannot attach the shared memory";

/// The system does not let this process map the memory.
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

/// The name of the memory that a link in some `/proc/<pid>/fd` leads to, if it is any of this package's.
pub(super) fn name_of(link: impl AsRef<Path>) -> Option<String> {
    let target = link.as_ref().read_link().ok()?;
    let name = target.to_str()?.strip_prefix("/memfd:")?.strip_prefix(NAME)?;
    Some(name.strip_suffix(" (deleted)")?.to_owned())
}

impl Memfd {
    /// Reserves `len` bytes, a whole number of pages, in a file that shows `name` to whoever looks.
    ///
    /// # Errors
    /// The system has no `memfd`, or will not reserve that much; or this process cannot tell its namespaces.
    pub fn create(len: usize, name: &str) -> Result<Self> {
        let no = |why: Errno| refused(CODE, NOT_MADE, &why.into());
        let namespaces = KernelNamespaces::own().map_err(|why| refused(CODE, NOT_MADE, &why))?;
        // A file longer than the limit would end the process by a signal.
        if process::getrlimit(Resource::Fsize)
            .current
            .is_some_and(|most| most < len as u64)
        {
            return Err(no(Errno::FBIG));
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let name = format!("{NAME}{name}");
        let file = match fs::memfd_create(&name, flags | MemfdFlags::NOEXEC_SEAL) {
            // A kernel before 6.3.
            Err(Errno::INVAL) => fs::memfd_create(&name, flags),
            made => made,
        };
        let file = file.map_err(no)?;
        fs::fchmod(&file, Mode::RUSR | Mode::WUSR).map_err(no)?;
        fs::ftruncate(&file, len as u64).map_err(no)?;
        fs::fcntl_add_seals(&file, SEALS).map_err(no)?;
        let memfd = Self::map(file, len, namespaces).map_err(no)?;
        // A system where holes are not told from data cannot rebuild a segment: it would read all of them.
        if memfd.written(0..len) != 0 {
            return Err(no(Errno::NOTSUP));
        }
        Ok(memfd)
    }

    /// Maps the memory that a ticket leads to. What lies in it is not looked at.
    ///
    /// # Errors
    /// There is no such process or file, or it is not ours to map; or this process has other namespaces, or cannot
    /// tell.
    pub fn attach(ticket: &Ticket) -> Result<Self> {
        let own = KernelNamespaces::own().map_err(unattached)?;
        own.check(ticket.namespaces)
            .map_err(|why| failed(UNATTACHED, why))?;
        let file = open(ticket.pid, ticket.fd).map_err(unattached)?;
        Self::over(file, own)
    }

    /// Maps the file of a process, if it is still there and is our user's memory of that name.
    ///
    /// # Errors
    /// It is, and cannot be mapped; or this process cannot tell its namespaces.
    pub(super) fn attach_named(pid: u32, fd: u32, name: &str) -> Result<Option<Self>> {
        let file = match open(pid, fd) {
            Ok(file) => file,
            // Those are about us, any other about what we would open.
            Err(why) if passes(&why) => return Err(unattached(why)),
            Err(_) => return Ok(None),
        };
        // The number may lead to another file than a moment ago.
        let is_it = name_of(format!("/proc/self/fd/{}", file.as_raw_fd())).as_deref() == Some(name);
        if is_it && file.metadata().is_ok_and(|found| found.uid() == own_user()) {
            let own = KernelNamespaces::own().map_err(unattached)?;
            Self::over(file, own).map(Some)
        } else {
            Ok(None)
        }
    }

    fn over(file: File, namespaces: KernelNamespaces) -> Result<Self> {
        let found = file.metadata().map_err(unattached)?;
        if found.uid() != own_user() {
            return Err(failed(UNATTACHED, "it is another user's"));
        }
        let sealed = fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SEALS));
        let len = usize::try_from(found.len()).ok().filter(|len| sealed && *len > 0);
        let Some(len) = len else {
            return Err(failed(UNATTACHED, "it is no memory of this package"));
        };
        Self::map(file.into(), len, namespaces).map_err(unattached)
    }

    fn map(file: OwnedFd, len: usize, namespaces: KernelNamespaces) -> rustix::io::Result<Self> {
        let (access, flags) = (
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED | MapFlags::NORESERVE,
        );
        // SAFETY: a new mapping, where the kernel chooses: it takes the place of nothing.
        let base = unsafe { rustix::mm::mmap(ptr::null_mut(), len, access, flags, &file, 0)? };
        MAPPINGS.fetch_add(1, Relaxed);
        ADDRESSES.fetch_add(len, Relaxed);
        let memfd = Self {
            file,
            mapping: Arc::new(Mapping {
                base: NonNull::new(base.cast()).ok_or(Errno::NOMEM)?,
                len,
            }),
            headroom: Headroom::of_this_process(),
            namespaces,
        };
        // A core dump would read every page that is reserved, and so have the system make it.
        // SAFETY: the mapping just made; the advice changes nothing of what is in it.
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

    /// What leads another process here.
    pub fn ticket(&self, nonce: [u64; 2]) -> Ticket {
        Ticket {
            pid: std::process::id(),
            fd: self.file.as_raw_fd() as u32,
            namespaces: self.namespaces,
            nonce,
        }
    }

    /// The bytes of memory behind it, by the kernel's count.
    pub fn committed(&self) -> u64 {
        fs::fstat(&self.file).map_or(0, |stat| stat.st_blocks as u64 * 512)
    }
}

// SAFETY: `base` is a mapping of `len` bytes, page aligned, until drop. The file is as long and sealed against
// getting shorter, so each of its pages can be read and written; fresh ones are 0. Only this type maps it.
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
            // Memory that is not given back is used again.
            retry_on_intr(|| fs::fallocate(&self.file, hole, from, len)).ok();
        }
    }

    fn written(&self, range: Range<usize>) -> usize {
        // Pages that were asked for and never touched count as a hole, too.
        match fs::seek(&self.file, SeekFrom::Hole(range.start as u64)) {
            Ok(hole) => (hole as usize).clamp(range.start, range.end) - range.start,
            Err(_) => range.len(),
        }
    }

    fn namespaces(&self) -> KernelNamespaces {
        self.namespaces
    }
}

/// `pid:fd:PID namespace:time namespace:nonce`, the nonce in hexadecimal digits and the last: JavaScript tells stores
/// by it.
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
