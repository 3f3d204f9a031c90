//! The lock, and how a thread is recognised as gone.

use super::*;
use crate::storage::shared::tests::harness::{self, Child, skipped};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

/// What needs a process of its own.
#[test]
fn child_process() {
    match harness::arguments().as_deref() {
        None => {}
        Some("of another user") => of_another_user(),
        Some("without files") => without_files(),
        Some(other) => panic!("{other}"),
    }
}

fn passes(role: &str) -> bool {
    Child::start(module_path!(), role).passed()
}

fn of_another_user() {
    let first = Process::new(1).unwrap().stat().unwrap().starttime as u32;
    let first = u64::from(first) << 32 | 1;
    // SAFETY: changes the user of this process, which is one of the test's own.
    assert_eq!(unsafe { libc::setuid(65_534) }, 0);
    // SAFETY: signal 0 is sent to nobody.
    assert_eq!(unsafe { libc::syscall(libc::SYS_tkill, 1, 0) }, -1);
    assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EPERM));
    let visible = Process::new(1).and_then(|process| process.stat()).is_ok();
    assert!(is_alive(first));
    // Where processes of other users are hidden, nobody can tell.
    assert!(!visible || !is_alive(first ^ 1 << 32), "its number came again");
    assert!(!is_alive(1), "another user's thread");
}

#[test]
fn the_thread_of_another_user_is_the_owner_only_if_it_started_then() {
    if !geteuid().is_root() {
        skipped("only root can change its user");
        return;
    }
    assert!(passes("of another user"));
}

fn without_files() {
    let files = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        ..files
    };
    let starts = move || {
        let place = LockPlace::default();
        setrlimit(Resource::Nofile, none).unwrap();
        place.lock(Duration::ZERO).unwrap();
        let before = place.owner.load(Relaxed) >> 32;
        setrlimit(Resource::Nofile, files).unwrap();
        let other = LockPlace::default();
        other.lock(Duration::ZERO).unwrap();
        let after = other.owner.load(Relaxed) >> 32;
        assert!(other.unlock() && place.unlock());
        (before, after)
    };
    // A thread that has never had a lock.
    let (before, after) = thread::spawn(starts).join().unwrap();
    assert!(before == 0 && after != 0, "{before} {after}");
}

#[test]
fn a_thread_that_could_open_no_file_learns_its_start_later() {
    assert!(passes("without files"));
}

#[test]
fn a_thread_that_is_gone_is_told_from_one_that_is_there() {
    let own = this_thread();
    assert!(own >> 32 != 0 && is_alive(own));
    assert!(!is_alive(own ^ 1 << 32), "its number came again");
    let other = thread::spawn(this_thread).join().unwrap();
    assert_ne!(own, other);
    for never in [0, 1 << 31, u64::MAX, u64::from(i32::MAX as u32)] {
        assert!(!is_alive(never), "{never}");
    }
}

#[test]
fn whoever_waits_takes_over_from_one_that_is_gone() {
    let place = LockPlace::default();
    thread::scope(|scope| {
        scope.spawn(|| place.lock(Duration::ZERO).unwrap());
    });
    // The thread has been joined, and the system may be about to remove it.
    assert_eq!(place.lock(Duration::from_secs(20)), Ok(()));
    assert!(place.unlock());
    assert_eq!(place.lock(Duration::ZERO), Ok(()));
}

#[test]
fn whoever_waits_looks_again_and_sees_that_the_owner_has_gone_meanwhile() {
    let place = LockPlace::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            place.lock(Duration::ZERO).unwrap();
            // The other has looked for this thread, found it and fallen asleep.
            while place.waiting.load(Relaxed) == 0 {
                thread::yield_now();
            }
        });
        while place.owner.load(Relaxed) == 0 {
            thread::yield_now();
        }
        assert_eq!(place.lock(Duration::from_secs(20)), Ok(()));
    });
    assert!(place.unlock());
}

#[test]
fn a_thread_that_did_not_know_its_start_is_the_same_when_it_does() {
    let own = this_thread();
    let before = u64::from(own as u32);
    assert!(is_same(own, own) && is_same(before, own));
    assert!(!is_same(own ^ 1 << 32, own) && !is_same(before ^ 1, own) && !is_same(own, before));

    let place = LockPlace::default();
    place.owner.store(before, Relaxed);
    assert!(place.unlock());
    // Left by a panic.
    place.owner.store(before, Relaxed);
    assert_eq!(place.lock(Duration::from_secs(20)), Ok(()));
    assert!(place.unlock());
}

#[test]
fn what_is_no_owner_has_no_lock() {
    let place = LockPlace::default();
    for damage in [1 << 31, u64::MAX, 0xDEAD_BEEF_7FFF_FFFF] {
        place.owner.store(damage, Relaxed);
        assert_eq!(place.lock(Duration::from_secs(20)), Ok(()));
        assert!(place.unlock());
    }
}

#[test]
fn one_that_has_lost_it_to_damage_leaves_it_to_the_next() {
    let place = LockPlace::default();
    place.lock(Duration::ZERO).unwrap();
    place.owner.store(7, Relaxed);
    assert!(!place.unlock());
    assert_eq!(place.owner.load(Relaxed), 7);
}
