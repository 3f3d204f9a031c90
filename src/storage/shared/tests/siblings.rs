//! Siblings: child processes that open one segment at once, are killed, are refused.

use super::*;
use crate::{
    storage::{
        Stamp, Storage,
        shared::{
            handover::{NAME, THREAD},
            tests::harness::{self, Child, say, skipped, unshared},
        },
    },
    value::{OwnedValue, Value},
};
use rustix::{
    io::IoSlice,
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
        SocketType, accept, bind, listen, sendmsg, socket_with,
    },
    process::{DumpableBehavior, Resource, Signal, getrlimit, set_dumpable_behavior, setrlimit},
    thread::{CapabilitySet, CapabilitySets, set_capabilities},
};
use std::{
    collections::HashSet,
    env,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    process::Command,
    thread,
};

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
                let name = memory_name(identity, namespace, parent);
                turns.extend(Turn::take(&address(&name)).unwrap());
                turns.len().to_string()
            }
            // Has a segment as a process of another network namespace has it: it does not listen.
            ["alone", identity, namespace] => {
                let name = memory_name(identity, namespace, parent);
                said(Segment::make(&name), &mut held)
            }
            // Hands over a segment of this user at the address of another user.
            ["give-to", user, identity, namespace] => {
                let name = memory_name(identity, namespace, parent);
                let address = Address::new(user.parse().unwrap(), &name).unwrap();
                let segment = Segment::make(&name).unwrap();
                let turn = Turn::take(&address).unwrap().unwrap();
                let memory = segment.memory();
                let handing = turn.listen(memory.file().clone(), KernelNamespaces::own().unwrap());
                memory.keep(handing.unwrap());
                said(Ok(segment), &mut held)
            }
            ["closed"] => {
                close();
                "done".to_owned()
            }
            ["user", user] => {
                // SAFETY: the call has no other arguments. All threads of the process change their user.
                let failed = unsafe { libc::setuid(user.parse().unwrap()) };
                assert_eq!(failed, 0);
                "done".to_owned()
            }
            // How many open files of a process this one can tell.
            ["seen", pid] => {
                let links = fs::read_dir(format!("/proc/{pid}/fd"));
                let links = links.into_iter().flatten().flatten();
                let read = links.filter(|link| link.path().read_link().is_ok());
                read.count().to_string()
            }
            ["leave"] => {
                held.clear();
                "done".to_owned()
            }
            ["listens"] => {
                let sockets = fs::read_to_string("/proc/self/net/unix").unwrap();
                let names = sockets.split_whitespace().filter(|word| word.contains(NAME));
                names.collect::<Vec<_>>().join(" ")
            }
            // The threads that hand over.
            ["threads"] => {
                let all = fs::read_dir("/proc/self/task").unwrap();
                let names = all.filter_map(|thread| fs::read(thread.ok()?.path().join("comm")).ok());
                let these = names.filter(|name| name.trim_ascii() == THREAD.as_bytes());
                these.count().to_string()
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

/// The segment with a namespace in it.
fn live(mut segment: Segment<Memfd>) -> Segment<Memfd> {
    let (locked, _) = segment.lock_to_open(LONG).unwrap();
    segment.begin_life();
    segment.unlock(locked);
    segment
}

fn until_open(identity: &str, namespace: &str, parent: u32) -> Result<Segment<Memfd>> {
    let since = Instant::now();
    loop {
        match open(identity, namespace, parent) {
            Err(error) if error.is_busy() => assert!(since.elapsed() < LONG, "it is never our turn"),
            opened => return opened.map(live),
        }
        thread::yield_now();
    }
}

fn memory_name(identity: &str, namespace: &str, parent: u32) -> String {
    name(identity, namespace, parent, KernelNamespaces::own().unwrap())
}

/// The name of the memory of children of this process.
fn of_children(identity: &str, namespace: &str) -> String {
    memory_name(identity, namespace, process::id())
}

fn address(name: &str) -> Address {
    Address::new(geteuid().as_raw(), name).unwrap()
}

/// Lets no other process look into this one, and this thread into no other that did the same.
fn close() {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap();
    let none = CapabilitySet::empty();
    let none = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    set_capabilities(None, none).unwrap();
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
    let of = of_children(&identity, "n");
    assert_eq!(find_files(&of, process::id()).unwrap().count(), 0);
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
    // The connection, its two descriptors, and two for the thread.
    assert!((4..8).contains(&refused), "{refused}");
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
    other.stop();
    assert!((0..100).all(|_| open(&identity, "n", parent).is_err_and(|error| error.is_busy())));
    // Of that namespace only.
    open(&identity, "m", parent).unwrap();
    drop(other);
    open(&identity, "n", parent).unwrap();
}

#[test]
fn a_second_copy_in_this_process_finds_the_first() {
    let identity = identity("twice");
    let open = || live(open(&identity, "n", 1).unwrap());
    let (mut a, mut b) = (open(), open());
    assert_eq!(nonce(&a), nonce(&b));
    put(&mut a, "key");
    assert!(get(&mut b, "key").is_some());
}

#[test]
fn there_is_never_a_second_beside_one_that_cannot_be_attached() {
    let identity = identity("damaged");
    let parent = process::id();
    let unready = Memfd::create(1 << 20, &of_children(&identity, "n")).unwrap();
    let refused = open(&identity, "n", parent).unwrap_err();
    assert_eq!(refused.code.as_str(), "ERR_STORE_ATTACH");
    drop(unready);
    open(&identity, "n", parent).unwrap();
}

#[test]
fn siblings_that_may_not_look_into_each_other_share() {
    let identity = identity("closed");
    let open = format!("open {identity} n");
    let mut all = [start(), start(), start()];
    for child in &mut all {
        child.ask("closed");
    }
    let [a, b, c] = &mut all;
    assert_eq!(b.ask(format!("seen {}", a.id())), "0");
    let nonce = a.ask(&open);
    assert_eq!((until(b, &open), until(c, &open)), (nonce.clone(), nonce.clone()));
    // Whoever has it gives it, not only the one that made it.
    a.signal(Signal::KILL);
    let mut d = start();
    d.ask("closed");
    assert_eq!(until(&mut d, &open), nonce);
}

#[test]
fn siblings_share_after_they_changed_their_user() {
    if !geteuid().is_root() {
        skipped("only root can change the user of a process");
        return;
    }
    let identity = identity("user");
    let open = format!("open {identity} n");
    // One that has the segment changes its user, and still gives it to those of the user that made it.
    let [mut a, mut b] = [start(), start()];
    let nonce = a.ask(&open);
    a.ask("user 65534");
    assert_eq!(until(&mut b, &open), nonce);
    b.ask("set key");
    assert!(a.ask("get key").contains("String"));
    drop(b);
    assert_eq!(until(&mut start(), &open), nonce);
    // Those that change before have one of their own.
    let [mut c, mut d] = [start(), start()];
    c.ask("user 65534");
    d.ask("user 65534");
    assert_eq!(d.ask(format!("seen {}", c.id())), "0");
    let other = c.ask(&open);
    assert!(other.starts_with('[') && other != nonce, "{other}");
    assert_eq!(until(&mut d, &open), other);
}

#[test]
fn stopped_siblings_keep_nobody_waiting() {
    let identity = identity("stopped");
    let open = format!("open {identity} n");
    let [mut a, mut b] = [start(), start()];
    let nonce = a.ask(&open);
    assert_eq!(b.ask(&open), nonce);
    // One of two: the other one answers.
    a.stop();
    assert_eq!(start().ask(&open), nonce);
    // All: `/proc` shows the segment.
    b.stop();
    let mut c = start();
    let since = Instant::now();
    assert_eq!(c.ask(&open), nonce);
    assert!(since.elapsed() < LONG, "{:?}", since.elapsed());
}

#[test]
fn stopped_siblings_that_nobody_may_look_into_are_awaited() {
    let identity = identity("awaited");
    let open = format!("open {identity} n");
    let [mut a, mut b] = [start(), start()];
    a.ask("closed");
    b.ask("closed");
    let nonce = a.ask(&open);
    a.stop();
    for _ in 0..3 {
        let since = Instant::now();
        assert_eq!(b.ask(&open), "ERR_STORE_UNAVAILABLE");
        // A tenth of a second, on a machine that has other work.
        assert!(since.elapsed() < LONG, "{:?}", since.elapsed());
    }
    a.signal(Signal::CONT);
    assert_eq!(until(&mut b, &open), nonce);
}

/// Asks until a child has opened its segment.
fn until(child: &mut Child, open: &str) -> String {
    let since = Instant::now();
    loop {
        let answer = child.ask(open);
        if answer.starts_with('[') {
            return answer;
        }
        assert!(since.elapsed() < LONG, "{answer}");
    }
}

/// A socket that listens at the address of a namespace, and is no sibling.
fn squat(identity: &str, namespace: &str) -> OwnedFd {
    let text = format!(
        "{NAME}{}:{}",
        geteuid().as_raw(),
        of_children(identity, namespace)
    );
    let at = SocketAddrUnix::new_abstract_name(text.as_bytes()).unwrap();
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    bind(&socket, &at).unwrap();
    listen(&socket, 100).unwrap();
    socket
}

/// Answers each connection in the same way, until the test ends.
fn answer(socket: OwnedFd, bytes: Vec<u8>, files: Vec<OwnedFd>) {
    thread::spawn(move || {
        while let Ok(connection) = accept(&socket) {
            let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(100))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(files.is_empty() || control.push(SendAncillaryMessage::ScmRights(&files)));
            let flags = SendFlags::NOSIGNAL;
            sendmsg(&connection, &[IoSlice::new(&bytes)], &mut control, flags).ok();
        }
    });
}

#[test]
fn one_that_has_the_address_for_something_else_is_found_out() {
    let own = KernelNamespaces::own().unwrap();
    let words = [u64::from_be_bytes(*b"LRUHAND1"), own.pid, own.time];
    let right: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let null = || OwnedFd::from(fs::File::open("/dev/null").unwrap());
    let identity = identity("squatted");
    for namespace in [
        "silent", "ends", "text", "long", "bare", "one", "null", "many", "strange",
    ] {
        let socket = squat(&identity, namespace);
        let listener = socket.try_clone().unwrap();
        // Sealed as a segment, of this package and of this user, but of another name.
        let other = || {
            let memory = Memfd::create(1 << 20, "another").unwrap();
            memory.file().try_clone().unwrap()
        };
        let _silent = match namespace {
            "silent" => Some(socket),
            "ends" => {
                answer(socket, vec![], vec![]);
                None
            }
            _ => {
                let (bytes, files) = match namespace {
                    "text" => (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), vec![]),
                    "long" => (vec![7; 100_000], vec![null(), null()]),
                    "bare" => (right.clone(), vec![]),
                    "one" => (right.clone(), vec![other()]),
                    "null" => (right.clone(), vec![null(), null()]),
                    "many" => (right.clone(), (0..100).map(|_| null()).collect()),
                    _ => (right.clone(), vec![other(), listener]),
                };
                answer(socket, bytes, files);
                None
            }
        };
        let mut a = start();
        let files = format!("seen {}", a.id());
        let before = a.ask(&files);
        // Nobody has it: none is made, and nothing that was given stays open.
        let open = format!("open {identity} {namespace}");
        assert_eq!(a.ask(&open), "ERR_STORE_UNAVAILABLE", "{namespace}");
        assert_eq!(a.ask(&files), before, "{namespace}");
        // A sibling has it, and does not listen.
        let nonce = start_kept(&format!("alone {identity} {namespace}"));
        assert_eq!(a.ask(&open), nonce.1, "{namespace}");
    }
}

/// A child that was asked, and its answer.
fn start_kept(line: &str) -> (Child, String) {
    let mut child = start();
    let answer = child.ask(line);
    (child, answer)
}

#[test]
fn an_answer_of_another_user_is_not_heard() {
    if !geteuid().is_root() {
        skipped("only root can change the user of a process");
        return;
    }
    let identity = identity("foreign");
    let [mut a, mut b] = [start(), start()];
    a.ask("user 65534");
    let given = a.ask(format!("give-to 0 {identity} n"));
    b.ask("closed");
    let open = format!("as-child-of {} {identity} n", process::id());
    let answer = b.ask(&open);
    assert!(answer.contains("another user has the address"), "{answer}");
    drop(a);
    let made = b.ask(&open);
    assert!(made.starts_with('[') && made != given, "{made}");
}

#[test]
fn a_connection_that_ends_without_an_answer_is_made_again() {
    let identity = identity("ended");
    let open = format!("open {identity} n");
    let [mut a, mut b] = [start(), start()];
    b.ask("closed");
    let nonce = a.ask(&open);
    // This process has the socket, too, as a sibling has it, and accepts while the other one cannot.
    let at = address(&of_children(&identity, "n"));
    let Ok(Answer::Given { listener, .. }) = ask(&at, Instant::now() + LONG) else {
        panic!("not given");
    };
    a.stop();
    b.tell(&open);
    let since = Instant::now();
    let connection = loop {
        match accept(&listener) {
            Ok(connection) => break connection,
            Err(why) => assert!(since.elapsed() < LONG, "{why}"),
        }
        thread::yield_now();
    };
    a.signal(Signal::CONT);
    drop(connection);
    assert!([&nonce, "ERR_STORE_UNAVAILABLE"].contains(&&*b.hear()));
    assert_eq!(until(&mut b, &open), nonce);
}

#[test]
fn those_that_have_it_are_killed_while_others_come() {
    let identity = identity("served");
    let mut kept = start();
    let open = format!("open {identity} n");
    let nonce = kept.ask(&open);
    let mut other = start();
    other.ask("closed");
    for round in 0..40 {
        let mut victim = start();
        assert_eq!(victim.ask(&open), nonce);
        other.tell(&open);
        (0..round * 1000).for_each(|_| std::hint::spin_loop());
        victim.signal(Signal::KILL);
        let heard = other.hear();
        assert!(
            [&nonce, "ERR_STORE_UNAVAILABLE"].contains(&&*heard),
            "{round}: {heard}"
        );
        other.ask("leave");
    }
}

#[test]
fn fifty_that_open_at_once_have_one_segment() {
    let identity = identity("fifty");
    let mut others: Vec<Child> = (0..50).map(|_| start()).collect();
    for round in 0..4 {
        others
            .iter_mut()
            .for_each(|other| other.tell(format!("open {identity} n{round}")));
        let nonces: HashSet<String> = others.iter_mut().map(Child::hear).collect();
        assert!(
            nonces.len() == 1 && nonces.iter().all(|nonce| nonce.starts_with('[')),
            "{nonces:?}"
        );
    }
}

#[test]
fn the_thread_goes_with_the_last_segment() {
    let identity = identity("thread");
    let mut child = start();
    // A new thread takes its name a moment after it was started.
    let until = |child: &mut Child, threads| {
        let since = Instant::now();
        while child.ask("threads") != threads {
            assert!(since.elapsed() < LONG);
        }
    };
    until(&mut child, "0");
    for _ in 0..3 {
        for namespace in ["a", "b", "c"] {
            child.ask(format!("open {identity} {namespace}"));
        }
        until(&mut child, "1");
        child.ask("leave");
        until(&mut child, "0");
    }
    // And the addresses are free.
    let addresses = fs::read_to_string("/proc/net/unix").unwrap();
    assert!(!addresses.contains(&of_children(&identity, "a")));
}

#[test]
fn siblings_in_another_network_namespace_find_it_in_proc() {
    if !geteuid().is_root() {
        skipped("in another user namespace a process may not look into others");
        return;
    }
    let Some(command) = unshared(harness::NET) else {
        return;
    };
    let identity = identity("net");
    let nonce = start_kept(&format!("open {identity} n"));
    let mut b = start_by(command);
    let open = format!("as-child-of {} {identity} n", process::id());
    assert_eq!(b.ask(&open), nonce.1);
    // And listens in its own.
    assert!(b.ask("listens").contains(&of_children(&identity, "n")));
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
    let mut names: HashSet<_> = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc"), ("bc", "a")]
        .map(|(identity, namespace)| memory_name(identity, namespace, 7))
        .into();
    names.insert(memory_name("a", "bc", 8));
    names.insert(name("a", "bc", 7, KernelNamespaces::default()));
    assert_eq!(names.len(), 7);
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
