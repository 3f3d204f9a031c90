//! Whether there is room for more memory. Shared memory that a process asks for beyond what its control groups or
//! the machine can give ends some process by force; so it is not asked for.
//!
//! A process that takes more than the soft bound of its group (`memory.high`) is made to sleep by the kernel, up
//! to seconds at a time, and that under the segment's lock: this bound counts as the hard one does.
//!
//! An ask reads two or three small files of each control group, and `/proc/meminfo`, all kept open: 15 µs with three
//! groups, and 20 µs more for each that is so full that it matters how much of it is files. A segment asks when
//! it grows, under its lock. What cannot be read sets no bound.

use procfs::{FromBufRead, ProcessCGroups, process::MountInfo};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    str,
    sync::OnceLock,
};

/// What is left to everything else, in bytes, of `all` there is: a 64th, but 16 MiB at the least and an eighth at
/// the most.
fn margin(all: u64) -> u64 {
    (all / 64).max(16 << 20).min(all / 8)
}

/// What a process may take.
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

/// A control group that bounds memory.
#[derive(Debug)]
struct Group {
    max: File,
    /// The soft bound. The first version has none that makes a process sleep.
    high: Option<File>,
    used: File,
    stat: PathBuf,
    /// What `stat` calls the pages of files. They are given up where memory is short; shared memory is not among
    /// them.
    files: [&'static str; 2],
}

impl Headroom {
    /// That of this process, whose groups are looked up the first time: one that is moved to others later goes on
    /// by the old ones.
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

    /// Whether `bytes` more can be taken, and the margin is still there.
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
        // Without a bound the second version says "max", which is no number.
        let bounds = [number(&self.max), self.high.as_ref().and_then(number)];
        let (Some(max), Some(used)) = (bounds.into_iter().flatten().min(), number(&self.used)) else {
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

/// Reads a file that the kernel writes anew, and in one piece, each time.
fn with_text<R>(file: &File, read: impl FnOnce(&str) -> Option<R>) -> Option<R> {
    let mut bytes = [0; 8192];
    let len = file.read_at(&mut bytes, 0).ok()?;
    read(str::from_utf8(&bytes[..len]).ok()?)
}

/// The number after a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == name).then(|| words.next()?.parse().ok())?
    })
}

/// The groups that bound a process, from what `/proc/self/cgroup` and `/proc/self/mountinfo` say: its own, and
/// those above it as far as they can be seen from here.
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
        // In a container the path may be one of the world outside; what is mounted is the container's own then.
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
