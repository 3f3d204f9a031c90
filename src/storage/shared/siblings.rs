//! How processes find the segment of a namespace that have no primary of ours to ask: workers of one application
//! under a process manager. There is no file and no message.
//!
//! The memory itself has a name (see [`Memfd::create`]), made of what the processes agree on. Whoever needs it
//! looks through the files of its siblings, the children of the same parent, for one of that name; where there is
//! none, it makes one. Only one process at a time may look and make: whose turn it is is said by an abstract
//! socket address, which one process can have and which is free again when that process ends, in whatever way.
//! So nothing is left behind and nothing can be stale: what is found is in use.
//!
//! The address is one of the network namespace: children of one parent in several of those would not keep each
//! other out. It is no secret: another user who takes it keeps us out, which looks like a turn that never ends.

use procfs::{
    ProcError, ProcResult,
    process::{Process, all_processes},
};
use rustix::process::{DumpableBehavior, Pid, dumpable_behavior, geteuid, getppid};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::{
    env::consts::ARCH,
    fmt, fs,
    hash::Hasher,
    io::{self, ErrorKind},
    iter,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process,
    time::Duration,
};

use super::{
    Segment,
    kernel::KernelNamespaces,
    layout::VERSION,
    memfd::{Memfd, NAME, name_of},
    refused::{of_proc, passes, refused},
};
use crate::error::{Code, Error, ErrorClass, Result};

/// The segment of a namespace that this process shares with the other children of `parent` (a process id) which
/// say the same `identity`: theirs, or a new one (as [`Segment::make`]). `None`
/// while another process looks for it: try again in a moment. It never waits.
///
/// # Errors
/// There is no shared memory on this system; or processes must not look into each other; or there is a segment,
/// and it cannot be attached, or a primary has taken over what was in it. A second one is never made beside it.
/// `ERR_STORE_UNAVAILABLE` and `ERR_OUT_OF_MEMORY` pass by themselves: try again.
pub fn open(identity: &str, namespace: &str, parent: u32) -> Result<Option<Segment<Memfd>>> {
    // A process that changed its user, or has privileges of its own, is closed to the others. Each would make a
    // segment for itself.
    if !matches!(dumpable_behavior(), Ok(DumpableBehavior::Dumpable)) {
        return Err(failed(&"other processes may not look into this one"));
    }
    // So it is where there is no /proc, or that of other processes.
    KernelNamespaces::own().map_err(unlooked)?;
    let name = name(identity, namespace);
    let Some(_turn) = Turn::take(&name)? else {
        return Ok(None);
    };
    for found in find(&name, parent)? {
        let (pid, fd) = found?;
        let Some(memory) = Memfd::attach_named(pid, fd, &name)? else {
            continue;
        };
        let mut segment = Segment::attach(memory, None)?;
        match segment.lock(Duration::ZERO) {
            Ok((locked, _)) => segment.unlock(locked),
            Err(error) if error.code == Code::Moved => return Err(error),
            Err(_) => {}
        }
        return Ok(Some(segment));
    }
    Segment::make(&name).map(Some)
}

/// When a process started, in ticks since the machine did: with its id, this tells it from any other. `None` if
/// there is no such process.
///
/// # Errors
/// Nobody can tell for lack of descriptors or memory.
pub fn start_time(pid: u32) -> Result<Option<u64>> {
    let Ok(pid) = i32::try_from(pid) else {
        return Ok(None);
    };
    seen(Process::new(pid).and_then(|process| Ok(process.stat()?.starttime)))
}

/// The name of a segment's memory: 128 bits as hexadecimal digits, of all that processes must agree on to share
/// it.
fn name(identity: &str, namespace: &str) -> String {
    let mut hasher = SipHasher24::new();
    hasher.write(&VERSION.to_le_bytes());
    for part in [ARCH, identity, namespace] {
        // The length keeps parts apart.
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part.as_bytes());
    }
    format!("{:032x}", hasher.finish128().as_u128())
}

/// The right to look for a segment and to make it.
#[derive(Debug)]
struct Turn(#[expect(dead_code, reason = "held, not used")] UnixDatagram);

impl Turn {
    /// `None`: another process or thread has it.
    fn take(name: &str) -> Result<Option<Self>> {
        let address = format!("{NAME}{}:{name}", geteuid().as_raw());
        let bound = SocketAddr::from_abstract_name(address).and_then(|at| UnixDatagram::bind_addr(&at));
        match bound {
            Ok(socket) => Ok(Some(Self(socket))),
            Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(unlooked(error)),
        }
    }
}

/// Files of that name, as process id and file number, of this process and of its user's other children of
/// `parent`. Processes and files come and go meanwhile, and some cannot be read: those are not found. One that cannot
/// be read for lack of descriptors or memory is an error: it may be the one that has the file.
fn find(name: &str, parent: u32) -> Result<impl Iterator<Item = Result<(u32, u32)>>> {
    // All processes: the kernel's own list of children may leave some out while others end.
    let all = all_processes().map_err(|error| unlooked(of_proc(error)))?;
    let user = geteuid().as_raw();
    let is_sibling = move |process: &Process| {
        Ok::<_, ProcError>(process.uid()? == user && u32::try_from(process.stat()?.ppid) == Ok(parent))
    };
    let siblings = all.filter_map(move |process| {
        let sibling = process.and_then(|process| Ok(is_sibling(&process)?.then(|| process.pid())));
        let pid = seen(sibling).map(|sibling| u32::try_from(sibling.flatten()?).ok());
        pid.transpose()
    });
    // This process, too, for another copy of the package in it.
    let all = iter::once(Ok(process::id())).chain(siblings);
    Ok(all.flat_map(move |pid| {
        let found = pid.and_then(|pid| Ok((pid, files(name, pid)?)));
        let (pid, files, error) = match found {
            Ok((pid, files)) => (pid, files, None),
            Err(error) => (0, Vec::new(), Some(Err(error))),
        };
        files.into_iter().map(move |fd| Ok((pid, fd))).chain(error)
    }))
}

/// The numbers of the files of that name that a process has open.
fn files(name: &str, pid: u32) -> Result<Vec<u32>> {
    let links = seen(fs::read_dir(format!("/proc/{pid}/fd")).map_err(ProcError::from))?;
    let links = links.into_iter().flatten().flatten();
    let found = links.filter(|link| name_of(link.path()).as_deref() == Some(name));
    Ok(found
        .filter_map(|link| link.file_name().to_str()?.parse().ok())
        .collect())
}

/// What was seen of a process; `None` where there is none, or none that this one may look at.
fn seen<T>(result: ProcResult<T>) -> Result<Option<T>> {
    match result.map_err(of_proc) {
        Ok(found) => Ok(Some(found)),
        Err(error) if passes(&error) => Err(unlooked(error)),
        Err(_) => Ok(None),
    }
}

/// Whether a process is still the parent of this one.
pub fn is_parent(pid: u32) -> bool {
    u32::try_from(Pid::as_raw(getppid())) == Ok(pid)
}

const CODE: Code = Code::Siblings;
const UNLOOKED: &str = "cannot look for the shared store";

/// Says why no segment can be looked for.
pub fn failed(why: &dyn fmt::Display) -> Error {
    Error::new(ErrorClass::Error, CODE, format!("{UNLOOKED}: {why}"))
}

/// The system does not let this process look.
fn unlooked(why: io::Error) -> Error {
    refused(CODE, UNLOOKED, &why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        storage::{Stamp, Storage, shared::kernel},
        value::{OwnedValue, Value},
    };
    use rustix::process::{Resource, Signal, getrlimit, kill_process, set_dumpable_behavior, setrlimit};
    use std::{
        collections::HashSet,
        env,
        io::{BufRead, BufReader, Write},
        os::fd::AsRawFd,
        process::{Child, ChildStdout, Command, Stdio},
        thread,
        time::Duration,
    };

    const LONG: Duration = Duration::from_secs(20);
    const NONE: Stamp = Stamp {
        set_at: 0.0,
        max_age: 0.0,
    };

    /// A child that does what it is told, line by line, and says how it went. Ended with its handle.
    struct Other {
        child: Child,
        said: BufReader<ChildStdout>,
    }

    impl Other {
        fn start() -> Self {
            Self::start_as(Command::new(env::current_exe().unwrap()))
        }

        fn start_as(mut command: Command) -> Self {
            let mut child = command
                .args([
                    "--exact",
                    "storage::shared::siblings::tests::another_process",
                    "--nocapture",
                    "--quiet",
                ])
                .env("PEERS_ROLE", "1")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let said = BufReader::new(child.stdout.take().unwrap());
            let mut other = Self { child, said };
            assert_eq!(other.hear(), "ready");
            other
        }

        fn tell(&mut self, what: &str) {
            writeln!(self.child.stdin.as_mut().unwrap(), "{what}").unwrap();
        }

        /// What it says next; lines of its test harness are not that.
        fn hear(&mut self) -> String {
            for _ in 0..100 {
                let mut line = String::new();
                self.said.read_line(&mut line).unwrap();
                if let Some(said) = line.trim().strip_prefix("said ") {
                    return said.to_owned();
                }
            }
            panic!("the other process says nothing");
        }

        fn ask(&mut self, what: &str) -> String {
            self.tell(what);
            self.hear()
        }

        fn signal(&self, signal: Signal) {
            kill_process(Pid::from_child(&self.child), signal).unwrap();
        }
    }

    impl Drop for Other {
        fn drop(&mut self) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }

    /// What other processes do. As a test of its own it is nothing.
    #[test]
    fn another_process() {
        if env::var_os("PEERS_ROLE").is_none() {
            return;
        }
        let parent = Pid::as_raw(getppid()) as u32;
        let (mut held, mut turns) = (vec![], vec![]);
        println!("\nsaid ready");
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
            println!("\nsaid {answer}");
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
        let mut others: Vec<Other> = (0..5).map(|_| Other::start()).collect();
        let mut all = HashSet::new();
        for round in 0..100 {
            others
                .iter_mut()
                .for_each(|other| other.tell(&format!("open {identity} n{round}")));
            let nonces: Vec<String> = others.iter_mut().map(Other::hear).collect();
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
        let mut others = [Other::start(), Other::start()];
        for round in 0..40 {
            let open = format!("open {identity} n{round}");
            let mut victim = Other::start();
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
        let [mut a, mut b, mut c] = [Other::start(), Other::start(), Other::start()];
        let nonce = a.ask(&open);
        assert_eq!((b.ask(&open), c.ask(&open)), (nonce.clone(), nonce.clone()));
        a.ask("set from-a");
        drop(a);
        assert!(b.ask("get from-a").contains("String"));
        c.ask("set from-c");
        let mut d = Other::start();
        assert_eq!(d.ask(&open), nonce);
        assert!(d.ask("get from-a").contains("String") && d.ask("get from-c").contains("String"));

        // And when all are gone, nothing is left.
        drop((b, c, d));
        let mut e = Other::start();
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
        let [mut a, mut b] = [Other::start(), Other::start()];
        let open = format!("open {identity} n");
        let nonce = a.ask(&open);
        let mut refused = 0;
        for count in 0..8 {
            b.ask(&format!("few {count}"));
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
        let [mut a, mut b] = [Other::start(), Other::start()];
        let nonce = a.ask(&format!("open {identity} n"));
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
        assert_eq!(Other::start().ask(&format!("open {identity} n")), nonce);
    }

    #[test]
    fn a_process_that_has_the_turn_keeps_others_out_until_it_ends() {
        let identity = identity("turn");
        let parent = process::id();
        let mut other = Other::start();
        assert_eq!(other.ask(&format!("turn {identity} n")), "1");
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
        let mut other = Other::start();
        other.ask("closed");
        assert_eq!(other.ask(&format!("open {identity} n")), "ERR_STORE_PEERS");
    }

    #[test]
    fn siblings_of_other_namespaces_are_refused_and_make_none() {
        let identity = identity("unshared");
        let mut a = Other::start();
        a.ask(&format!("open {identity} n"));
        for (how, why) in [
            (
                kernel::tests::PID,
                "cannot look for the shared store: /proc is that of another PID namespace",
            ),
            (
                kernel::tests::TIME,
                "cannot attach the shared store: it was made in another time namespace",
            ),
        ] {
            let Some(command) = kernel::tests::unshared(how) else {
                continue;
            };
            let mut b = Other::start_as(command);
            assert_eq!(b.ask(&format!("as-child-of {} {identity} n", process::id())), why);
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
        let other = Other::start();
        assert!(start_time(other.child.id()).unwrap() >= Some(own));
        assert_eq!(start_time(process::id()), Ok(Some(own)));
        let gone = other.child.id();
        drop(other);
        assert_ne!(start_time(gone), Ok(Some(own)));
        assert_eq!(start_time(u32::MAX), Ok(None));
    }
}
