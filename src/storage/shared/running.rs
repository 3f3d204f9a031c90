//! The segments of the applications that run on this machine, for the command of this package. They are found among the open
//! files of all processes in `/proc`. The first page of each is read, and nothing is mapped: what it says is checked when it
//! is attached.

use procfs::process::all_processes;
use rustix::process::geteuid;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    mem::offset_of,
    os::unix::fs::{FileExt, MetadataExt},
    process,
};

use super::{
    kernel::KernelNamespaces,
    layout::{Header, LABEL_BYTES, Label, LockPlace, MAGIC, MOVED, OVER, VERSION},
    memfd::{Ticket, names_segment},
};

/// A segment that processes have open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The processes.
    pub pids: Vec<u32>,
    /// The namespace, as far as the segment has it, see [`super::Segment::set_label`].
    pub namespace: String,
    /// By what it is attached; `None` where it cannot be.
    pub ticket: Option<Ticket>,
    /// Why not.
    pub problem: Option<String>,
    /// The thread that has its lock at this moment; 0 for none.
    pub holder: u32,
}

/// All segments of processes that this one may look at, its own left out. Those that a primary has moved, and processes
/// that end meanwhile, are left out.
///
/// # Errors
/// `/proc` cannot be read, or is that of another PID namespace.
pub fn running() -> io::Result<Vec<Running>> {
    let own = KernelNamespaces::own()?;
    let mut pids: Vec<_> = all_processes()
        .map_err(io::Error::other)?
        .filter_map(|process| u32::try_from(process.ok()?.pid()).ok())
        .filter(|pid| *pid != process::id())
        .collect();
    pids.sort_unstable();
    let mut found = BTreeMap::new();
    for pid in pids {
        for fd in segments_of(pid) {
            let path = format!("/proc/{pid}/fd/{fd}");
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            let running = found
                .entry((metadata.dev(), metadata.ino()))
                .or_insert_with(|| look(pid, fd, &path, metadata.uid(), own));
            if let Some(running) = running
                && running.pids.last() != Some(&pid)
            {
                running.pids.push(pid);
            }
        }
    }
    Ok(found.into_values().flatten().collect())
}

/// The descriptors of segments that a process has open; none where this process may not look.
fn segments_of(pid: u32) -> Vec<u32> {
    let links = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let segments = links.filter(|link| names_segment(link.path()));
    segments
        .filter_map(|link| link.file_name().to_str()?.parse().ok())
        .collect()
}

/// What a segment says of itself; `None` where it has moved or is gone.
fn look(pid: u32, fd: u32, path: &str, user: u32, own: KernelNamespaces) -> Option<Running> {
    let running = |ticket, namespace, problem: Option<&str>, holder| Running {
        pids: vec![],
        namespace,
        ticket,
        problem: problem.map(str::to_owned),
        holder,
    };
    let failed = |namespace, problem: &str| Some(running(None, namespace, Some(problem), 0));
    if user != geteuid().as_raw() {
        let problem = format!("it belongs to the user with the id {user}: run the command as that user");
        return failed(String::new(), &problem);
    }
    let mut page = [0; size_of::<Header>()];
    if File::open(path)
        .and_then(|file| file.read_exact_at(&mut page, 0))
        .is_err()
    {
        return failed(String::new(), "its memory cannot be read");
    }
    let word = |at: usize| {
        page[at..]
            .first_chunk()
            .map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    };
    let long = |at: usize| {
        page[at..]
            .first_chunk()
            .map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    };
    if [MOVED, OVER].contains(&word(offset_of!(Header, moved))) {
        return None;
    }
    if long(offset_of!(Header, magic)) != MAGIC || word(offset_of!(Header, ready)) != 1 {
        return failed(String::new(), "it is damaged, or not made yet");
    }
    let version = word(offset_of!(Header, version));
    if version != VERSION {
        return failed(
            String::new(),
            "another version of the package made it: run the command of that version",
        );
    }
    let label = offset_of!(Header, label);
    let len = (word(label + offset_of!(Label, len)) as usize).min(LABEL_BYTES);
    let bytes = &page[label + offset_of!(Label, bytes)..][..len];
    let namespace = String::from_utf8_lossy(bytes).into_owned();
    let namespaces = KernelNamespaces {
        pid: long(offset_of!(Header, pid_namespace)),
        time: long(offset_of!(Header, time_namespace)),
    };
    if let Err(why) = own.check(namespaces) {
        return failed(namespace, why);
    }
    let nonce = offset_of!(Header, nonce);
    let ticket = Ticket {
        pid,
        fd,
        namespaces,
        nonce: [long(nonce), long(nonce + size_of::<u64>())],
    };
    let holder = long(offset_of!(Header, lock) + offset_of!(LockPlace, owner)) as u32;
    Some(running(Some(ticket), namespace, None, holder))
}
