//! Headroom: whether the control groups of this process and the machine have memory to give. Where a process takes more
//! shared memory than they have, the kernel kills a process. So a segment checks the headroom before it takes memory.
//!
//! A process that takes more than the soft limit of its group (`memory.high`) is put to sleep by the kernel, up to
//! seconds at a time. It would sleep with the segment's lock, so the soft limit counts like the hard limit.
//!
//! A check reads two or three small files of each control group, and `/proc/meminfo`. All of them are kept open. A check
//! takes 15 µs with three groups, and 20 µs more for each group that is nearly full, because then the pages of files in
//! it are counted. A segment checks when it grows, under its lock. A file that cannot be read sets no limit.

use procfs::{FromBufRead, ProcessCGroups, process::MountInfo};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    str,
    sync::OnceLock,
};

/// The part of `all` bytes that is never taken: a 64th, but at least 16 MiB and at most an eighth.
fn margin(all: u64) -> u64 {
    (all / 64).max(16 << 20).min(all / 8)
}

/// What limits the memory of a process.
#[derive(Debug)]
pub struct Headroom {
    groups: Vec<Group>,
    /// `/proc/meminfo`
    machine: Option<File>,
}

/// The two interfaces of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A control group that limits memory.
#[derive(Debug)]
struct Group {
    max: File,
    /// The soft limit. Version 1 has none that puts a process to sleep.
    high: Option<File>,
    used: File,
    stat: PathBuf,
    /// The names in `stat` of the pages of files. The kernel reclaims these where memory is short. Shared memory is not
    /// among them.
    files: [&'static str; 2],
}

impl Headroom {
    /// The headroom of this process. Its control groups are looked up by the first call; where the process is moved to
    /// other groups later, the old ones still count.
    pub fn of_this_process() -> &'static Self {
        static ROOM: OnceLock<Headroom> = OnceLock::new();
        ROOM.get_or_init(|| {
            let own = |file| fs::read(format!("/proc/self/{file}")).unwrap_or_default();
            Self {
                groups: groups(&own("cgroup"), &own("mountinfo")),
                machine: File::open("/proc/meminfo").ok(),
            }
        })
    }

    /// Whether `bytes` more can be taken without touching the margins.
    pub fn has(&self, bytes: u64) -> bool {
        self.groups.iter().all(|group| group.has(bytes))
            && self
                .machine
                .as_ref()
                .is_none_or(|machine| machine_has(machine, bytes))
    }
}

impl Group {
    fn open(directory: &Path, version: Version) -> Option<Self> {
        let (max, used, files) = match version {
            Version::One => (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                ["total_inactive_file", "total_active_file"],
            ),
            Version::Two => ("memory.max", "memory.current", ["inactive_file", "active_file"]),
        };
        Some(Self {
            max: File::open(directory.join(max)).ok()?,
            high: match version {
                Version::One => None,
                Version::Two => File::open(directory.join("memory.high")).ok(),
            },
            used: File::open(directory.join(used)).ok()?,
            stat: directory.join("memory.stat"),
            files,
        })
    }

    fn has(&self, bytes: u64) -> bool {
        let number = |file: &File| with_text(file, |text| text.trim().parse::<u64>().ok());
        // Without a limit, version 2 has "max" here, which is no number.
        let limits = [number(&self.max), self.high.as_ref().and_then(number)];
        let (Some(max), Some(used)) = (limits.into_iter().flatten().min(), number(&self.used)) else {
            return true;
        };
        let needed = used.saturating_add(bytes).saturating_add(margin(max));
        needed <= max || needed.saturating_sub(self.reclaimable()) <= max
    }

    fn reclaimable(&self) -> u64 {
        let Ok(stat) = File::open(&self.stat) else {
            return 0;
        };
        let files = with_text(&stat, |text| {
            let files = self.files.iter().filter_map(|name| field(text, name));
            Some(files.fold(0, u64::saturating_add))
        });
        files.unwrap_or(0)
    }
}

fn machine_has(meminfo: &File, bytes: u64) -> bool {
    let said = with_text(meminfo, |text| {
        let kibibytes = |name| field(text, name).map(|number| number.saturating_mul(1024));
        Some((kibibytes("MemTotal:")?, kibibytes("MemAvailable:")?))
    });
    said.is_none_or(|(all, available)| available >= margin(all).saturating_add(bytes))
}

/// Reads a file of the kernel, which gives the present text in one piece to each read.
fn with_text<R>(file: &File, read: impl FnOnce(&str) -> Option<R>) -> Option<R> {
    let mut bytes = [0; 8192];
    let len = file.read_at(&mut bytes, 0).ok()?;
    read(str::from_utf8(&bytes[..len]).ok()?)
}

/// The number in the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == name).then(|| words.next()?.parse().ok())?
    })
}

/// The groups that limit a process: its own, and those above it that are visible here. `own` and `mounts` are the bytes of
/// its `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn groups(own: &[u8], mounts: &[u8]) -> Vec<Group> {
    let open = |(directory, version): (PathBuf, _)| Group::open(&directory, version);
    directories(own, mounts).into_iter().filter_map(open).collect()
}

fn directories(own: &[u8], mounts: &[u8]) -> Vec<(PathBuf, Version)> {
    let own = ProcessCGroups::from_buf_read(own).map_or_else(|_| vec![], |own| own.0);
    let mounts = String::from_utf8_lossy(mounts);
    let mounts: Vec<_> = mounts
        .lines()
        .filter_map(|line| MountInfo::from_line(line).ok())
        .collect();
    let mut found = vec![];
    for version in [Version::One, Version::Two] {
        let mount = mounts.iter().find(|mount| match version {
            Version::One => mount.fs_type == "cgroup" && mount.super_options.contains_key("memory"),
            Version::Two => mount.fs_type == "cgroup2",
        });
        let group = own.iter().find(|group| match version {
            Version::One => group.controllers.iter().any(|controller| controller == "memory"),
            Version::Two => group.hierarchy == 0,
        });
        let (Some(mount), Some(group)) = (mount, group) else {
            continue;
        };
        // In a container the path may be that of the host. Then the mounted directory is the container's own group.
        let below = Path::new(&group.pathname)
            .strip_prefix(&mount.root)
            .ok()
            .filter(|below| !below.starts_with(".."));
        let directory = below.map_or_else(
            || mount.mount_point.clone(),
            |below| mount.mount_point.join(below),
        );
        let visible = directory
            .ancestors()
            .take_while(|directory| directory.starts_with(&mount.mount_point));
        found.extend(visible.map(|directory| (directory.to_path_buf(), version)));
    }
    found
}

#[cfg(test)]
#[path = "tests/headroom.rs"]
mod tests;
