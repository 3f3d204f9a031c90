//! Siblings: child processes that open one segment at once, are killed, are refused.

use super::*;
use crate::{
    storage::{
        Stamp, Storage,
        shared::tests::harness::{self, Child, say, unshared},
    },
    value::{OwnedValue, Value},
};
use rustix::process::{Resource, Signal, getrlimit, set_dumpable_behavior, setrlimit};
use std::{collections::HashSet, env, os::fd::AsRawFd, process::Command, thread};

const LONG: Duration = Duration::from_secs(20);
const NONE: Stamp = Stamp {
    set_at: 0.0,
    max_age: 0.0,
};

/// A child that does what it is told, line by line, and says how it went.
fn start() -> Child {
    start_by(Command::new(env::current_exe().unwrap()))
}

fn start_by(command: Command) -> Child {
    Child::start_by(command, module_path!(), "")
}

#[test]
fn child_process() {
    if harness::arguments().is_none() {
        return;
    }
    let parent = Pid::as_raw(getppid()) as u32;
    let (mut held, mut turns) = (vec![], vec![]);
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words[..] {
            ["open", identity, namespace] => said(until_open(identity, namespace, parent), &mut held),
            ["elsewhere", identity, namespace] => said(until_open(identity, namespace, 1), &mut held),
            ["as-child-of", parent, identity, namespace] => {
                let opened = until_open(identity, namespace, parent.parse().unwrap());
                let why = opened.as_ref().err().map(|error| error.message.clone());
                why.map_or_else(|| said(opened, &mut held), |why| why.into_owned())
            }
            ["turn", identity, namespace] => {
                turns.extend(Turn::take(&name(identity, namespace)).unwrap());
                turns.len().to_string()
            }
            ["closed"] => {
                set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap();
                "done".to_owned()
            }
            // Lets it open so many more files.
            ["few", count] => {
                let mut limit = getrlimit(Resource::Nofile);
                limit.current = limit.maximum;
                setrlimit(Resource::Nofile, limit).unwrap();
                let next = fs::File::open("/dev/null").unwrap().as_raw_fd() as u64;
                limit.current = Some(next + count.parse::<u64>().unwrap());
                setrlimit(Resource::Nofile, limit).unwrap();
                "done".to_owned()
            }
            ["set", key] => {
                put(held.last_mut().unwrap(), key);
                "done".to_owned()
            }
            ["get", key] => format!("{:?}", get(held.last_mut().unwrap(), key)),
            _ => panic!("{line}"),
        };
        say(answer);
    }
}

fn said(opened: Result<Segment<Memfd>>, held: &mut Vec<Segment<Memfd>>) -> String {
    match opened {
        Ok(segment) => {
            held.push(segment);
            nonce(held.last().unwrap())
        }
        Err(error) => error.code.as_str().to_owned(),
    }
}

fn until_open(identity: &str, namespace: &str, parent: u32) -> Result<Segment<Memfd>> {
    for _ in 0..1_000_000 {
        if let Some(segment) = open(identity, namespace, parent)? {
            return Ok(segment);
        }
        thread::yield_now();
    }
    panic!("it is never our turn");
}

fn nonce(segment: &Segment<Memfd>) -> String {
    format!("{:x?}", segment.nonce())
}

fn put(segment: &mut Segment<Memfd>, key: &str) {
    let (locked, _) = segment.lock(LONG).unwrap();
    segment
        .put(key.as_bytes(), Value::String(key.as_bytes()), NONE)
        .unwrap();
    segment.unlock(locked);
}

fn get(segment: &mut Segment<Memfd>, key: &str) -> Option<OwnedValue> {
    let (locked, _) = segment.lock(LONG).unwrap();
    let found = segment.peek(key.as_bytes()).unwrap();
    let found = found.map(|(value, _)| value.to_owned());
    segment.unlock(locked);
    found
}

/// An identity that no other test has, nor another run of this one.
fn identity(test: &str) -> String {
    format!(
        "{test}-{}-{}",
        process::id(),
        start_time(process::id()).unwrap().unwrap()
    )
}

#[test]
fn processes_that_open_at_once_have_one_segment() {
    let identity = identity("once");
    let mut others: Vec<Child> = (0..5).map(|_| start()).collect();
    let mut all = HashSet::new();
    for round in 0..100 {
        others
            .iter_mut()
            .for_each(|other| other.tell(format!("open {identity} n{round}")));
        let nonces: Vec<String> = others.iter_mut().map(Child::hear).collect();
        assert!(
            nonces.iter().all(|nonce| *nonce == nonces[0]),
            "{round}: {nonces:?}"
        );
        all.extend(nonces);
    }
    assert_eq!(all.len(), 100);
}

#[test]
fn one_that_is_killed_while_it_opens_does_not_part_the_others() {
    let identity = identity("parted");
    let mut others = [start(), start()];
    for round in 0..40 {
        let open = format!("open {identity} n{round}");
        let mut victim = start();
        victim.tell(&open);
        (0..round * 1000).for_each(|_| std::hint::spin_loop());
        victim.signal(Signal::KILL);
        let [a, b] = &mut others;
        a.tell(&open);
        let nonce = b.ask(&open);
        assert!(nonce.starts_with('[') && nonce == a.hear(), "{round}: {nonce}");
    }
}

#[test]
fn the_others_go_on_when_the_one_that_made_it_is_killed_and_new_ones_join() {
    let identity = identity("killed");
    let open = format!("open {identity} n");
    let [mut a, mut b, mut c] = [start(), start(), start()];
    let nonce = a.ask(&open);
    assert_eq!((b.ask(&open), c.ask(&open)), (nonce.clone(), nonce.clone()));
    a.ask("set from-a");
    drop(a);
    assert!(b.ask("get from-a").contains("String"));
    c.ask("set from-c");
    let mut d = start();
    assert_eq!(d.ask(&open), nonce);
    assert!(d.ask("get from-a").contains("String") && d.ask("get from-c").contains("String"));

    // And when all are gone, nothing is left.
    drop((b, c, d));
    let mut e = start();
    assert_ne!(e.ask(&open), nonce);
    assert_eq!(e.ask("get from-a"), "None");
    drop(e);
    let of = name(&identity, "n");
    assert_eq!(find(&of, process::id()).unwrap().count(), 0);
    let addresses = fs::read_to_string("/proc/net/unix").unwrap();
    assert!(!addresses.contains(&of), "{addresses}");
}

#[test]
fn one_that_lacks_descriptors_makes_no_second_segment_and_finds_the_first_later() {
    let identity = identity("few");
    let [mut a, mut b] = [start(), start()];
    let open = format!("open {identity} n");
    let nonce = a.ask(&open);
    let mut refused = 0;
    for count in 0..8 {
        b.ask(format!("few {count}"));
        let found = b.ask(&open);
        if found == "ERR_STORE_UNAVAILABLE" {
            refused += 1;
        } else {
            assert_eq!(found, nonce, "with {count} descriptors");
        }
    }
    assert!((3..8).contains(&refused), "{refused}");
    b.ask("few 100");
    assert_eq!(b.ask(&open), nonce);
}

#[test]
fn other_identities_namespaces_and_parents_never_meet() {
    let identity = identity("apart");
    let [mut a, mut b] = [start(), start()];
    let nonce = a.ask(format!("open {identity} n"));
    for apart in [
        format!("open {identity}n n"),
        format!("open {identity} nn"),
        format!("open {identity}n "),
        format!("elsewhere {identity} n"),
    ] {
        let other = b.ask(&apart);
        assert!(other.starts_with('[') && other != nonce, "{apart}: {other}");
    }
    // It has another one of that name now, from elsewhere.
    drop(b);
    assert_eq!(start().ask(format!("open {identity} n")), nonce);
}

#[test]
fn a_process_that_has_the_turn_keeps_others_out_until_it_ends() {
    let identity = identity("turn");
    let parent = process::id();
    let mut other = start();
    assert_eq!(other.ask(format!("turn {identity} n")), "1");
    other.signal(Signal::STOP);
    assert!((0..100).all(|_| open(&identity, "n", parent).unwrap().is_none()));
    // Of that namespace only.
    assert!(open(&identity, "m", parent).unwrap().is_some());
    drop(other);
    assert!(open(&identity, "n", parent).unwrap().is_some());
}

#[test]
fn a_second_copy_in_this_process_finds_the_first() {
    let identity = identity("twice");
    let open = || open(&identity, "n", 1).unwrap().unwrap();
    let (mut a, mut b) = (open(), open());
    assert_eq!(nonce(&a), nonce(&b));
    put(&mut a, "key");
    assert!(get(&mut b, "key").is_some());
}

#[test]
fn there_is_never_a_second_beside_one_that_cannot_be_attached() {
    let identity = identity("damaged");
    let parent = process::id();
    let unready = Memfd::create(1 << 20, &name(&identity, "n")).unwrap();
    let refused = open(&identity, "n", parent).unwrap_err();
    assert_eq!(refused.code.as_str(), "ERR_STORE_ATTACH");
    drop(unready);
    assert!(open(&identity, "n", parent).unwrap().is_some());
}

#[test]
fn a_process_that_others_may_not_look_into_makes_none() {
    let identity = identity("closed");
    let mut other = start();
    other.ask("closed");
    assert_eq!(other.ask(format!("open {identity} n")), "ERR_STORE_PEERS");
}

#[test]
fn siblings_of_other_namespaces_are_refused_and_make_none() {
    let identity = identity("unshared");
    let mut a = start();
    a.ask(format!("open {identity} n"));
    for (how, why) in [
        (
            harness::PID,
            "cannot look for the shared store: /proc is that of another PID namespace",
        ),
        (
            harness::TIME,
            "cannot attach the shared store: it was made in another time namespace",
        ),
    ] {
        let Some(command) = unshared(how) else {
            continue;
        };
        let mut b = start_by(command);
        assert_eq!(b.ask(format!("as-child-of {} {identity} n", process::id())), why);
    }
}

#[test]
fn a_file_that_is_not_the_one_meant_is_not_mapped() {
    let there = Memfd::create(1 << 20, "a").unwrap();
    let ticket = there.ticket([0, 0]);
    let attach = |fd, name| Memfd::attach_named(ticket.pid, fd, name).unwrap();
    assert!(attach(ticket.fd, "a").is_some());
    assert!(attach(ticket.fd, "b").is_none());
    assert!(attach(0, "a").is_none());
    assert!(attach(1 << 20, "a").is_none());
    drop(there);
    assert!(attach(ticket.fd, "a").is_none());
}

#[test]
fn names_differ_wherever_what_they_are_made_of_does() {
    let names: HashSet<_> = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc"), ("bc", "a")]
        .map(|(identity, namespace)| name(identity, namespace))
        .into();
    assert_eq!(names.len(), 5);
    assert!(names.iter().all(|name| name.len() == 32));
}

#[test]
fn a_process_started_once() {
    let own = start_time(process::id()).unwrap().unwrap();
    let other = start();
    assert!(start_time(other.id()).unwrap() >= Some(own));
    assert_eq!(start_time(process::id()), Ok(Some(own)));
    let gone = other.id();
    drop(other);
    assert_ne!(start_time(gone), Ok(Some(own)));
    assert_eq!(start_time(u32::MAX), Ok(None));
}
