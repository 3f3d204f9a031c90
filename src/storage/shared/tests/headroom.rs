//! Headroom: what files of control groups and `/proc/meminfo` say, and a control group that is really full.

use super::*;
use crate::{
    storage::{
        Stamp, Storage,
        shared::{
            Segment,
            memfd::Memfd,
            tests::harness::{self, Child, skipped},
        },
    },
    value::Value,
};
use std::{
    env,
    io::{self, Read, Write},
    process, thread,
    time::Duration,
};
use tempfile::{TempDir, tempdir, tempfile_in};

const MIB: u64 = 1 << 20;

#[test]
fn a_damaged_count_of_ready_rows_costs_no_memory() {
    let mut segment = Segment::<Memfd>::with_capacity(1 << 30, "").unwrap();
    let stamp = Stamp {
        set_at: 0.0,
        max_age: 0.0,
    };
    segment.put(b"sa", Value::Null, stamp).unwrap();
    segment.end();
    let before = segment.memory().committed();
    segment.header().rows_ready.set(segment.edit.geometry.rows_max);
    segment.begin().unwrap();
    for number in 0..2000_u32 {
        segment.put(&number.to_le_bytes(), Value::Null, stamp).unwrap();
    }
    segment.end();
    assert!(segment.memory().committed() - before < MIB);
    segment.validate().unwrap();
}

fn write(directory: &Path, files: &[(&str, String)]) {
    fs::create_dir_all(directory).unwrap();
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
    }
}

fn group_of_version_2(directory: &Path, max: &str, used: u64, files: [u64; 2]) {
    let [inactive, active] = files;
    let stat = format!("anon 5\nshmem 99999999999\ninactive_file {inactive}\nactive_file {active}\nslab 7\n");
    let files = [
        ("memory.max", format!("{max}\n")),
        ("memory.current", format!("{used}\n")),
        ("memory.stat", stat),
    ];
    write(directory, &files);
}

fn group_of_version_1(directory: &Path, max: u64, used: u64, files: [u64; 2]) {
    let [inactive, active] = files;
    let stat = format!(
        "cache 1\ninactive_file 99999999999\ntotal_inactive_file {inactive}\ntotal_active_file {active}\n"
    );
    let files = [
        ("memory.limit_in_bytes", format!("{max}\n")),
        ("memory.usage_in_bytes", format!("{used}\n")),
        ("memory.stat", stat),
    ];
    write(directory, &files);
}

/// A mount of control groups on a directory made for the test.
fn mount(root: &str, at: &TempDir, kind: &str, options: &str) -> String {
    format!(
        "31 23 0:28 / / rw - ext4 /dev/root rw\n32 31 0:29 {root} {} rw,relatime shared:4 - {kind} {kind} rw{options}\n",
        at.path().display()
    )
}

/// The most that fits, to the byte.
fn most(room: &Headroom) -> u64 {
    let (mut fits, mut too_much) = (0, u64::MAX);
    while too_much - fits > 1 {
        let between = fits + (too_much - fits) / 2;
        if room.has(between) {
            fits = between;
        } else {
            too_much = between;
        }
    }
    fits
}

fn room(own: &str, mounts: &str) -> Headroom {
    Headroom {
        groups: groups(own.as_bytes(), mounts.as_bytes()),
        machine: None,
    }
}

#[test]
fn the_margin_is_a_small_part() {
    assert_eq!(margin(64 * MIB), 8 * MIB);
    assert_eq!(margin(512 * MIB), 16 * MIB);
    assert_eq!(margin(64 << 30), 1 << 30);
    assert_eq!(margin(0), 0);
}

#[test]
fn the_tightest_group_above_decides_in_version_2() {
    let at = tempdir().unwrap();
    group_of_version_2(&at.path().join("pod/own"), "max", 300 * MIB, [0, 0]);
    group_of_version_2(
        &at.path().join("pod"),
        "536870912",
        500 * MIB,
        [60 * MIB, 40 * MIB],
    );
    let mounts = mount("/", &at, "cgroup2", "");
    let found = room("0::/pod/own\n", &mounts);
    assert_eq!(most(&found), (512 - 16 - 400) * MIB);

    // It is read anew each time.
    group_of_version_2(&at.path().join("pod/own"), "367001600", 300 * MIB, [0, 0]);
    assert_eq!(most(&found), (350 - 16 - 300) * MIB);
    group_of_version_2(&at.path().join("pod/own"), "367001600", 349 * MIB, [0, 0]);
    assert!(!found.has(0));

    // A group beside it is not its own.
    group_of_version_2(&at.path().join("pod/other"), "1048576", 0, [0, 0]);
    assert!(room("0::/\n", &mounts).groups.is_empty());
    assert_eq!(room("0::/pod/other\n", &mounts).groups.len(), 2);
}

#[test]
fn the_soft_limit_counts_as_the_hard_one_does() {
    let at = tempdir().unwrap();
    let mounts = mount("/", &at, "cgroup2", "");
    let high = |text: &str| fs::write(at.path().join("memory.high"), text).unwrap();
    for (max, soft, limit) in [
        ("max", "268435456\n", 256),
        ("536870912", "268435456\n", 256),
        ("268435456", "536870912\n", 256),
        ("536870912", "max\n", 512),
    ] {
        group_of_version_2(at.path(), max, 200 * MIB, [60 * MIB, 40 * MIB]);
        high(soft);
        assert_eq!(
            most(&room("0::/", &mounts)),
            (limit - 16 - 100) * MIB,
            "{max} {soft}"
        );
    }
    // Anew each time.
    let found = room("0::/", &mounts);
    high("110000000\n");
    assert!(!found.has(0));
}

#[test]
fn the_tightest_group_above_decides_in_version_1() {
    let at = tempdir().unwrap();
    let unlimited = 0x7FFF_FFFF_FFFF_F000;
    group_of_version_1(at.path(), unlimited, 8000 * MIB, [0, 0]);
    group_of_version_1(&at.path().join("docker"), unlimited, 4000 * MIB, [0, 0]);
    group_of_version_1(
        &at.path().join("docker/own"),
        256 * MIB,
        250 * MIB,
        [30 * MIB, 20 * MIB],
    );
    let own = "5:cpu,cpuacct:/elsewhere\n4:hugetlb,memory:/docker/own\n0::/\n";
    let found = room(own, &mount("/", &at, "cgroup", ",memory,hugetlb"));
    assert_eq!(found.groups.len(), 3);
    assert_eq!(most(&found), (256 - 16 - 200) * MIB);
    assert!(room(own, &mount("/", &at, "cgroup", ",cpu")).groups.is_empty());
}

#[test]
fn in_a_container_what_is_mounted_is_its_own() {
    let at = tempdir().unwrap();
    group_of_version_2(at.path(), "268435456", 0, [0, 0]);
    for (root, own) in [
        ("/", "/"),
        ("/", "/../../outside"),
        ("/docker/own", "/docker/own"),
        ("/docker/own", "/somewhere/else"),
        ("/", "/docker/not-visible-here"),
    ] {
        let found = room(&format!("0::{own}\n"), &mount(root, &at, "cgroup2", ""));
        assert_eq!(most(&found), (256 - 16) * MIB, "{root} {own}");
    }
    group_of_version_2(&at.path().join("below"), "134217728", 0, [0, 0]);
    let found = room(
        "0::/docker/own/below\n",
        &mount("/docker/own", &at, "cgroup2", ""),
    );
    assert_eq!(most(&found), (128 - 16) * MIB);
}

#[test]
fn what_cannot_be_read_sets_no_limit() {
    let at = tempdir().unwrap();
    let mounts = mount("/", &at, "cgroup2", "");
    for (own, mounts) in [
        ("", ""),
        ("0::/", ""),
        ("", &*mounts),
        ("nonsense", "nonsense\n\n"),
    ] {
        assert!(room(own, mounts).has(u64::MAX), "{own} {mounts}");
    }
    group_of_version_2(at.path(), "nonsense", 0, [0, 0]);
    assert!(room("0::/", &mounts).has(u64::MAX));
    group_of_version_2(at.path(), "1048576", 0, [0, 0]);
    let found = room("0::/", &mounts);
    assert!(!found.has(MIB));
    fs::write(at.path().join("memory.current"), "").unwrap();
    assert!(found.has(MIB));
    // Without its statistics, nothing is reclaimable.
    group_of_version_2(at.path(), "268435456", 250 * MIB, [200 * MIB, 0]);
    assert!(found.has(100 * MIB));
    fs::remove_file(at.path().join("memory.stat")).unwrap();
    assert!(!found.has(0));
}

#[test]
fn the_machine_keeps_a_margin_too() {
    let at = tempdir().unwrap();
    let path = at.path().join("meminfo");
    let machine = |text: &str| {
        fs::write(&path, text).unwrap();
        Headroom {
            groups: vec![],
            machine: File::open(&path).ok(),
        }
    };
    let found =
        machine("MemTotal:        2097152 kB\nMemFree:  1 kB\nMemAvailable:     131072 kB\nBuffers: 0 kB\n");
    assert_eq!(most(&found), (128 - 32) * MIB);
    assert!(!machine("MemTotal: 2097152 kB\nMemAvailable: 30000 kB\n").has(0));
    // A kernel before 3.14.
    assert!(machine("MemTotal: 2097152 kB\nMemFree: 1 kB\n").has(u64::MAX));
    assert!(machine("").has(u64::MAX));
}

#[test]
fn this_machine_can_be_asked() {
    let room = Headroom::of_this_process();
    assert!(room.has(0));
    assert!(!room.has(1 << 60));
}

// ---- a group that is full ----

const LIMIT: u64 = 64 * MIB;
const VALUE: usize = 10_000;
const NONE: Stamp = Stamp {
    set_at: 0.0,
    max_age: 0.0,
};

/// A group made for the test, with a limit.
struct Limited(PathBuf, Version);

impl Limited {
    fn make() -> std::result::Result<Self, String> {
        let own = |file| fs::read(format!("/proc/self/{file}")).unwrap();
        let mut reasons = vec!["no control groups".to_owned()];
        for (above, version) in directories(&own("cgroup"), &own("mountinfo")) {
            let group = Self(above.join(format!("lru-cache-room-{}", process::id())), version);
            let limit = match version {
                Version::One => "memory.limit_in_bytes",
                Version::Two => "memory.max",
            };
            let made = fs::create_dir(&group.0).and_then(|()| {
                // Not `fs::write`: it would make the file.
                let mut limit = File::options().write(true).open(group.0.join(limit))?;
                limit.write_all(LIMIT.to_string().as_bytes())
            });
            match made {
                Ok(()) => return Ok(group),
                Err(error) => reasons.push(format!("{}: {error}", group.0.display())),
            }
        }
        Err(reasons.join("; "))
    }

    fn start(&self) -> Child {
        Child::start(module_path!(), self.0.display())
    }

    fn killed(&self) -> u64 {
        let file = match self.1 {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        field(&fs::read_to_string(self.0.join(file)).unwrap(), "oom_kill").unwrap()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // A process that has ended leaves it a moment later.
        for _ in 0..1000 {
            match fs::remove_dir(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    thread::sleep(Duration::from_millis(1));
                }
                _ => break,
            }
        }
    }
}

/// Joins the group that its argument names, fills it and goes on.
#[test]
fn child_process() {
    let Some(group) = harness::arguments() else { return };
    fs::write(Path::new(&group).join("cgroup.procs"), "0").unwrap();
    // Pages of files take no headroom, even as many as would fill the group alone.
    let mut file = tempfile_in(env::current_exe().unwrap().parent().unwrap()).unwrap();
    let chunk = vec![1; MIB as usize];
    (0..2 * LIMIT / MIB).for_each(|_| file.write_all(&chunk).unwrap());

    let mut segment = Segment::make("").unwrap();
    let mut stored = 0;
    let refused = loop {
        match put(&mut segment, stored) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code.as_str(), "ERR_OUT_OF_MEMORY");
    for at in 0..stored {
        let (locked, _) = segment.lock(Duration::from_secs(20)).unwrap();
        let found = segment
            .peek(&key(at))
            .unwrap()
            .map(|(value, _)| value == Value::String(&value_of(at)));
        segment.unlock(locked);
        assert_eq!(found, Some(true), "{at} of {stored}");
    }
    for at in 0..stored / 2 {
        let (locked, _) = segment.lock(Duration::from_secs(20)).unwrap();
        assert_eq!(segment.remove(&key(at)), Ok(true));
        segment.unlock(locked);
    }
    (0..stored / 2).for_each(|at| put(&mut segment, at).unwrap());
    harness::say(stored);
    // Both keep what they have until both are done.
    io::stdin().read_to_end(&mut vec![]).unwrap();
}

fn key(at: usize) -> [u8; 8] {
    at.to_le_bytes()
}

fn value_of(at: usize) -> Vec<u8> {
    vec![at as u8; VALUE]
}

fn put(segment: &mut Segment<Memfd>, at: usize) -> crate::error::Result<()> {
    let (locked, _) = segment.lock(Duration::from_secs(20))?;
    let put = segment.put(&key(at), Value::String(&value_of(at)), NONE);
    segment.unlock(locked);
    put.map(drop)
}

#[test]
fn where_a_group_is_full_a_set_is_refused_and_nobody_is_killed() {
    let group = match Limited::make() {
        Ok(group) => group,
        Err(why) => {
            skipped(format!("no control group can be made here: {why}"));
            return;
        }
    };
    let mut children = [group.start(), group.start()];
    let stored = children
        .each_mut()
        .map(|child| child.hear().parse::<usize>().unwrap());
    assert_eq!(children.map(Child::passed), [true, true]);
    assert_eq!(group.killed(), 0);
    let bytes = (stored.iter().sum::<usize>() * VALUE) as u64;
    assert!((LIMIT / 3..LIMIT - margin(LIMIT)).contains(&bytes), "{stored:?}");
}
