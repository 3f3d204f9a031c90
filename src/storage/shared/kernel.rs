//! Namespaces of the kernel. (Elsewhere in this package, a namespace is the name of a cache.)
//!
//! The lock names its owner by a thread number and a start time. In another PID namespace the same thread has another
//! number, and in another time namespace another start time. A process there would take the lock from an owner that
//! lives. So a segment records the namespaces of the process that made it, and processes of others do not attach it.

#[cfg(target_os = "linux")]
use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    process,
};

/// The PID and the time namespace of a process, by their inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelNamespaces {
    /// The inode of the PID namespace. 0 for memory that no other process maps.
    pub pid: u64,
    /// The inode of the time namespace; 0 where the kernel has no time namespaces.
    pub time: u64,
}

impl KernelNamespaces {
    /// The namespaces of this process. Its `/proc` must be that of its own PID namespace, because the lock reads there
    /// whether its owner lives.
    ///
    /// # Errors
    /// `/proc` is missing, cannot be read, or is that of another PID namespace.
    #[cfg(target_os = "linux")]
    pub fn own() -> io::Result<Self> {
        let shown = fs::read_link("/proc/self")?;
        let status = fs::read("/proc/self/status")?;
        let is_own = shown.to_str() == Some(&*process::id().to_string())
            && is_innermost(&String::from_utf8_lossy(&status));
        if !is_own {
            return Err(io::Error::other("/proc is that of another PID namespace"));
        }
        let inode = |file| fs::metadata(file).map(|found| found.ino());
        let time = inode("/proc/self/ns/time");
        Ok(Self {
            pid: inode("/proc/self/ns/pid")?,
            time: match time {
                Err(why) if why.kind() == ErrorKind::NotFound => 0,
                time => time?,
            },
        })
    }

    /// Checks that a process of these namespaces may attach a segment that was made in `theirs`.
    ///
    /// # Errors
    /// The reason why it may not.
    pub fn check(self, theirs: Self) -> Result<(), &'static str> {
        if self.pid != theirs.pid {
            Err("it was made in another PID namespace")
        } else if self.time != theirs.time {
            Err("it was made in another time namespace")
        } else {
            Ok(())
        }
    }
}

/// Whether the text of `/proc/self/status` comes from the `/proc` of the process's own PID namespace. There the line
/// `NSpid` has one number. The `/proc` of a PID namespace above shows one more number for each level. A kernel without
/// this line has no nested PID namespaces.
#[cfg(target_os = "linux")]
fn is_innermost(status: &str) -> bool {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_none_or(|numbers| numbers.split_ascii_whitespace().count() == 1)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_namespaces() {
        let own = KernelNamespaces::own().unwrap();
        let link = |name| fs::read_link(format!("/proc/self/ns/{name}")).ok();
        assert_eq!(
            link("pid").unwrap().to_str().unwrap(),
            format!("pid:[{}]", own.pid)
        );
        let time = link("time").map_or(0, |_| own.time);
        assert_eq!(time, own.time);
        assert_eq!(own.check(own), Ok(()));
        let other = KernelNamespaces { pid: 1, ..own };
        assert!(own.check(other).unwrap_err().contains("PID"));
        let other = KernelNamespaces { time: 1, ..own };
        assert!(own.check(other).unwrap_err().contains("time"));
    }

    #[test]
    fn the_proc_of_a_namespace_above_shows_a_number_for_each_level() {
        for (status, innermost) in [
            ("Name:\tnode\nNSpid:\t12\nVmPeak:\t1 kB\n", true),
            ("Name:\tnode\nNSpid:\t12\t12\nVmPeak:\t1 kB\n", false),
            ("Name:\tnode\nNStgid:\t12\t12\n", true),
            ("NSpid:\n", false),
        ] {
            assert_eq!(is_innermost(status), innermost, "{status}");
        }
    }
}
