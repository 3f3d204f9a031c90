//! A store in shared memory and child processes that attach it. The children are killed before each single store into
//! the segment, are killed at random under load, are stopped while they have the lock, run in other namespaces of the
//! kernel, and run out of files, addresses or memory. The last parts test one process: the memory that a store takes and
//! gives back, and its move from the heap to shared memory.

use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, setrlimit};
use std::{
    env,
    io::{Read, Write},
    os::fd::AsRawFd,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    super::{
        Segment,
        crash_point::watch,
        memfd::{Memfd, Ticket, mapped},
        memory::Memory,
    },
    Random,
    harness::{self, Child, say, skipped, unshared},
    object,
};
use crate::{
    cache::Terms,
    command::{self, Command as Call},
    copies::Copies,
    error::{Error, Result},
    extras::{Extras, TagList},
    slots::Slots,
    storage::{Stamp, Storage},
    store::{Guard, Place, Store},
    value::{OwnedValue, Value},
};

/// Long enough for anything but a lock that is never given back.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(1);
const NONE: Stamp = Stamp {
    set_at: 0.0,
    max_age: 0.0,
};

fn create(bytes: usize) -> Store {
    Store::shared(Segment::with_capacity(bytes, "").unwrap())
}

fn segment<'a>(cache: &'a Guard<'_>) -> &'a Segment<Memfd> {
    match cache.storage() {
        Place::Shared(segment) => segment,
        Place::Heap(_) => panic!("not shared"),
    }
}

fn committed(store: &Store) -> u64 {
    segment(&store.lock(LONG).unwrap()).memory().committed()
}

/// Starts a child that attaches the store and takes one of the roles below.
fn start(role: &str, store: &Store, argument: usize) -> Child {
    start_by(Command::new(env::current_exe().unwrap()), role, store, argument)
}

fn start_by(command: Command, role: &str, store: &Store, argument: usize) -> Child {
    let ticket = store.ticket().unwrap();
    Child::start_by(command, module_path!(), format!("{role} {ticket} {argument}"))
}

#[test]
fn child_process() {
    let Some(role) = harness::arguments() else { return };
    let words: Vec<&str> = role.split(' ').collect();
    let [role, ticket, argument] = words[..] else {
        panic!("{role}")
    };
    if role == "many" {
        return many();
    }
    let attached = Store::attach(&ticket.parse::<Ticket>().unwrap());
    if role == "attach" {
        say(format_args!("{:?}", attached.map_err(Error::into_message)));
        return;
    }
    let store = attached.unwrap();
    let argument: usize = argument.parse().unwrap();
    match role {
        "mutate" => mutate(&store, argument / 10_000, argument % 10_000),
        "hold" => hold(&store),
        "load" => load(&store, argument),
        "break" => break_lock(&store),
        "starved" => starved(&store),
        "starve" => starve(&store, argument),
        other => panic!("{other}"),
    }
}

// ---- killed before each store ----

const MUTATIONS: usize = 11;

fn mutation(cache: &mut Guard<'_>, number: usize) {
    let long = vec![b'n'; 40_000];
    match number {
        0 => drop(cache.set(b"snew", Value::String(b"new"), None, 1.0)),
        1 => drop(cache.set(b"s3", Value::Json("{\"replaced\":true}"), Some(9.0), 1.0)),
        2 => drop(cache.set(b"s4", Value::String(&long), None, 1.0)),
        3 => drop(cache.get(b"s5", 1.0, |_| Ok(()))),
        4 => drop(cache.del(b"s6")),
        5 => drop(cache.incr(b"scount", 5.0, None, 1.0)),
        6 => drop(cache.pop(|_| Ok(()))),
        7 => cache.set_max(15.0),
        8 => {
            // As many as there are: the new one evicts another.
            cache.set_max(17.0);
            drop(cache.set(b"snew", Value::String(b"new"), None, 1.0));
        }
        // Replaces many blocks by many others that are free.
        9 => drop(cache.set(b"s15", Value::String(&long[..1000]), None, 1.0)),
        _ => drop(cache.set(b"s7", Value::Slot(1), None, 1.0)),
    }
}

/// Makes a mutation and dies before its `at`-th store, with the lock.
fn mutate(store: &Store, number: usize, at: usize) {
    let mut stores = 0;
    let die = move || {
        stores += 1;
        if stores == at {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    };
    let mut cache = store.lock(LONG).unwrap();
    watch(die, || {
        mutation(&mut cache, number);
        drop(cache);
    });
}

type Plain = (Vec<u8>, OwnedValue);

fn contents(cache: &Guard<'_>) -> Vec<Plain> {
    let mut contents = vec![];
    let visited = cache.visit(|entry| {
        contents.push((entry.key.to_vec(), entry.value.to_owned()));
        Ok(())
    });
    visited.unwrap();
    contents
}

fn filled() -> Store {
    let store = create(1 << 26);
    let mut cache = store.lock(LONG).unwrap();
    for at in 0..16 {
        cache
            .set(
                format!("s{at}").as_bytes(),
                Value::String(&vec![b'v'; at * 20]),
                None,
                1.0,
            )
            .unwrap();
    }
    cache.set(b"scount", Value::Number(37.0), None, 1.0).unwrap();
    cache
        .set(b"sgone", Value::String(&vec![b'g'; 1500]), None, 1.0)
        .unwrap();
    cache.del(b"sgone").unwrap();
    drop(cache);
    store
}

#[test]
fn killed_before_any_store_of_any_mutation_it_leaves_what_was_before_or_what_comes_after() {
    let mut killed = 0;
    for number in 0..MUTATIONS {
        let (before, after) = {
            let store = filled();
            let before = contents(&store.lock(LONG).unwrap());
            mutation(&mut store.lock(LONG).unwrap(), number);
            let after = contents(&store.lock(LONG).unwrap());
            (before, after)
        };
        for at in 1.. {
            let store = filled();
            if start("mutate", &store, number * 10_000 + at).passed() {
                assert_eq!(contents(&store.lock(LONG).unwrap()), after);
                break;
            }
            killed += 1;
            // The others are neither refused nor do they see anything half done.
            let cache = store.lock(LONG).unwrap();
            segment(&cache).validate().unwrap();
            assert_eq!(
                segment(&cache).recoveries(),
                (0, 0),
                "mutation {number}, store {at}"
            );
            let found = contents(&cache);
            if number == 7 {
                // Of several entries to evict it evicted some; whoever came next, the rest.
                assert!(
                    found.len() as f64 <= cache.limits().max,
                    "mutation {number}, store {at}"
                );
            }
            assert!(
                found == before || found == after,
                "mutation {number}, store {at}: {found:?}"
            );
            drop(cache);
            assert!(
                store
                    .lock(LONG)
                    .unwrap()
                    .set(b"safter", Value::Null, None, 1.0)
                    .unwrap()
            );
        }
    }
    println!("killed {killed} processes");
    assert!(killed > 150);
}

/// Prints what a kill costs the next call. `cargo test --release --no-default-features --lib 2_million -- --ignored
/// --nocapture`
#[test]
#[ignore = "prints a time"]
fn a_kill_in_a_store_of_2_million_entries() {
    let store = create(1 << 30);
    let object = object();
    for at in 0..2_000_000 {
        let mut cache = store.lock(LONG).unwrap();
        cache
            .set(format!("s{at}").as_bytes(), Value::Json(&object), None, 1.0)
            .unwrap();
    }
    store.lock(LONG).unwrap().set_max(2_000_000.0);
    let mut times = vec![];
    // New keys, which evict; others that replace; a read; a removal; a counter.
    for number in [0, 1, 2, 3, 4, 5, 9] {
        for at in (1..).step_by(5) {
            if start("mutate", &store, number * 10_000 + at).passed() {
                break;
            }
            let started = Instant::now();
            let mut cache = store.lock(LONG).unwrap();
            assert!(cache.get(b"s77", 1.0, |_| Ok(())).unwrap().is_some());
            drop(cache);
            times.push(started.elapsed());
        }
    }
    times.sort();
    let started = Instant::now();
    let cache = store.lock(LONG).unwrap();
    assert_eq!(segment(&cache).recoveries(), (0, 0));
    segment(&cache).recover().unwrap();
    println!(
        "{} kills: the next call took {:?} in the median, {:?} in 99 of 100, {:?} at most; a whole rebuild takes {:?}",
        times.len(),
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        times[times.len() - 1],
        started.elapsed()
    );
}

// ---- killed at random, under load ----

const KEYS: usize = 40;

/// A value that says itself whether it is whole: a length and as many bytes that follow from it.
fn sealed(random: &mut Random) -> Vec<u8> {
    let len = random.below(700) + 2;
    let seed = random.next();
    let mut bytes = vec![0; len + 8];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rest = Random(seed | 1);
    bytes[8..].iter_mut().for_each(|byte| *byte = rest.next() as u8);
    bytes
}

fn check_whole(value: Value<'_>) -> Result<()> {
    match value {
        Value::String(bytes) => assert!(is_whole(bytes), "a value is not whole"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some((seed, rest)) = bytes.split_first_chunk() else {
        return false;
    };
    let mut expected = Random(u64::from_le_bytes(*seed) | 1);
    rest.iter().all(|byte| *byte == expected.next() as u8)
}

/// Sets, gets, evicts and counts without end; each count that was done is a byte on the way out.
fn load(store: &Store, number: usize) {
    let mut out = std::io::stdout();
    let mut random = Random(number as u64 * 7919 + 1);
    let own = format!("scount{number}");
    say("ready");
    loop {
        let key = format!("sk{}", random.below(KEYS));
        let mut cache = store.lock(LONG).unwrap();
        match random.below(10) {
            0..4 => drop(
                cache
                    .set(key.as_bytes(), Value::String(&sealed(&mut random)), None, 1.0)
                    .unwrap(),
            ),
            4..8 => drop(cache.get(key.as_bytes(), 1.0, check_whole).unwrap()),
            8 => cache.del(key.as_bytes()).unwrap(),
            _ => {
                cache.incr(b"sall", 1.0, None, 1.0).unwrap();
                cache.incr(own.as_bytes(), 1.0, None, 1.0).unwrap();
                drop(cache);
                out.write_all(b"+").unwrap();
                out.flush().unwrap();
            }
        }
    }
}

#[test]
fn processes_killed_at_random_lose_no_count_and_leave_no_wrong_value() {
    const AT_ONCE: usize = 16;
    let kills = env::var("KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(24);
    let store = create(1 << 26);
    let mut random = Random(5);
    let mut running = Vec::new();
    let (mut acknowledged, mut started) = (0, 0);
    let finish = |(number, mut other): (usize, Child), store: &Store| {
        other.signal(Signal::KILL);
        let said = other.rest();
        let said = said.iter().filter(|byte| **byte == b'+').count();
        let key = format!("scount{number}");
        let mut cache = store.lock(LONG).unwrap();
        segment(&cache).validate().unwrap();
        let count = cache.peek(key.as_bytes(), 1.0, |value| Ok(value.to_owned()));
        let count = count.unwrap();
        let Some(OwnedValue::Number(count)) =
            count.clone().or((said == 0).then_some(OwnedValue::Number(0.0)))
        else {
            panic!("{count:?}, and {said} were acknowledged")
        };
        // It may have died after a count and before it could say so.
        assert!(
            count == said as f64 || count == said as f64 + 1.0,
            "{count} is not {said}"
        );
        said
    };
    while started < kills + AT_ONCE {
        if running.len() == AT_ONCE {
            let which = random.below(AT_ONCE);
            // Any moment of its work: as many calls of our own as chance says.
            for _ in 0..random.below(3_000) {
                let key = format!("sk{}", random.below(KEYS));
                let mut cache = store.lock(LONG).unwrap();
                cache.get(key.as_bytes(), 1.0, check_whole).unwrap();
            }
            (0..random.below(20_000)).for_each(|_| std::hint::spin_loop());
            acknowledged += finish(running.swap_remove(which), &store);
        }
        let mut other = start("load", &store, started);
        assert_eq!(other.hear(), "ready");
        running.push((started, other));
        started += 1;
    }
    for other in running {
        acknowledged += finish(other, &store);
    }
    let cache = store.lock(LONG).unwrap();
    segment(&cache).validate().unwrap();
    let total = cache.storage().peek(b"sall").unwrap();
    let total = total.map(|(value, _)| value.to_owned());
    let Some(OwnedValue::Number(total)) = total else {
        panic!("{total:?}")
    };
    let (recoveries, dropped) = segment(&cache).recoveries();
    assert_eq!(
        (recoveries, dropped),
        (0, 0),
        "each kill was repaired by its record"
    );
    println!("{started} killed, {acknowledged} counts, {recoveries} rebuilds, {dropped} dropped");
    assert!(
        (acknowledged as f64..=(acknowledged + started) as f64).contains(&total),
        "{total}: {acknowledged}"
    );
}

// ---- stopped with the lock in its hands ----

/// Takes the lock and keeps it until its input ends.
fn hold(store: &Store) {
    let mut cache = store.lock(LONG).unwrap();
    cache.set(b"sheld", Value::Bool(true), None, 1.0).unwrap();
    say("held");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(cache);
    say("given back");
    loop {
        std::thread::park();
    }
}

fn held(store: &Store) -> Child {
    let mut other = start("hold", store, 0);
    assert_eq!(other.hear(), "held");
    other
}

#[test]
fn a_stopped_process_that_has_the_lock_makes_others_give_up_not_wait() {
    let store = filled();
    let mut other = held(&store);
    other.signal(Signal::STOP);
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(store.lock(SHORT).err(), Some(Error::busy()));
    }
    // Not a measurement: the other is stopped for good, so any end at all shows that nobody waits for it.
    assert!(started.elapsed() < LONG);
    other.signal(Signal::CONT);
    other.end_input();
    assert_eq!(other.hear(), "given back");
    let mut cache = store.lock(LONG).unwrap();
    assert_eq!(cache.has(b"sheld", 1.0), Ok(true));
    assert_eq!(segment(&cache).recoveries(), (0, 0));
    cache.del(b"sheld").unwrap();
    drop(cache);

    // Killed instead, it leaves what it had done whole.
    let other = held(&store);
    other.signal(Signal::STOP);
    assert!(store.lock(SHORT).is_err());
    drop(other);
    let cache = store.lock(LONG).unwrap();
    assert_eq!(cache.has(b"sheld", 1.0), Ok(true));
    assert_eq!(segment(&cache).recoveries(), (0, 0), "nobody rebuilt it");
    segment(&cache).validate().unwrap();
}

#[test]
fn a_lock_that_is_none_does_no_harm() {
    // Any of its bytes.
    let store = filled();
    assert!(start("break", &store, 0).passed());
}

fn break_lock(store: &Store) {
    let place = segment(&store.lock(LONG).unwrap()).lock_bytes();
    let mut random = Random(11);
    for round in 0..4_000 {
        // SAFETY: the lock's place, which nobody else uses now.
        let whole = unsafe { place.read() };
        let mut broken = whole;
        for _ in 0..=random.below(3) {
            broken[random.below(64)] = if round % 2 == 0 {
                random.next() as u8
            } else {
                1 << random.below(8)
            };
        }
        // SAFETY: as above.
        unsafe { place.write(broken) };
        drop(store.lock(Duration::ZERO));
        // SAFETY: as above; the lock is free, or was never taken.
        unsafe { place.write(whole) };
        assert!(store.lock(LONG).is_ok(), "the lock as it was works");
    }
}

// ---- memory ----

#[test]
fn what_one_process_does_another_sees() {
    let store = filled();
    let other = Store::attach(&store.ticket().unwrap().to_string().parse().unwrap()).unwrap();
    other.lock(LONG).unwrap().set_max(3.0);
    assert_eq!(store.lock(LONG).unwrap().len(), 3);
    // The memory outlives the store that made it.
    drop(store);
    assert_eq!(other.lock(LONG).unwrap().len(), 3);
}

#[test]
fn a_ticket_leads_to_one_store_only() {
    let store = filled();
    let ticket = store.ticket().unwrap();
    let refused = |ticket: Ticket| Store::attach(&ticket).unwrap_err().into_message();
    assert!(
        refused(Ticket {
            nonce: [1, 2],
            ..ticket
        })
        .contains("not the one")
    );
    assert!(refused(Ticket { fd: 0, ..ticket }).contains("cannot attach"));
    assert!(
        refused(Ticket {
            pid: u32::MAX,
            ..ticket
        })
        .contains("cannot attach")
    );
    // A memory of ours that is no store yet.
    let empty = Memfd::create(1 << 26, "").unwrap();
    assert!(refused(empty.ticket([1, 2])).contains("not ready"));
    for text in [
        "",
        "1",
        "1:2",
        "a:2:3",
        "1:2:xyz",
        "1:2:",
        "1:2:ff",
        "1:2:3:4",
        "1:2:3:4:",
        "1:2:3:x:ff",
        "1:2:3:4:5:ff",
    ] {
        assert!(text.parse::<Ticket>().is_err(), "{text:?}");
    }
    assert_eq!(ticket.to_string().parse::<Ticket>().unwrap(), ticket);
}

#[test]
fn a_process_of_another_pid_or_time_namespace_attaches_nothing() {
    let store = filled();
    for (how, why) in [
        (harness::PID, "/proc is that of another PID namespace"),
        (harness::PID_AND_PROC, "it was made in another PID namespace"),
        (harness::TIME, "it was made in another time namespace"),
    ] {
        let Some(command) = unshared(how) else {
            continue;
        };
        let mut other = start_by(command, "attach", &store, 0);
        let said = format!("Err(\"cannot attach the shared memory: {why}\")");
        assert_eq!(other.hear(), said);
    }
}

/// Namespaces of one process.
const MANY: usize = 10_000;

/// Makes them, as far as files go, and fills one of the last beyond what each had at the least before.
fn many() {
    let mut stores: Vec<Segment<Memfd>> = vec![];
    let refused = loop {
        match Segment::make("") {
            Ok(segment) if stores.len() < MANY => stores.push(segment),
            Ok(_) => break None,
            Err(error) => break Some(error.into_message()),
        }
    };
    let committed: u64 = stores.iter().map(|segment| segment.memory().committed()).sum();
    say(format_args!(
        "made {} of {committed} bytes: {refused:?}",
        stores.len()
    ));
    let (made, taken) = mapped();
    assert_eq!(made, stores.len());
    let last = stores.last_mut().unwrap();
    let value = vec![b'v'; 10 << 20];
    for at in 0..7 {
        let (locked, _) = last.lock(LONG).unwrap();
        let put = last.put(format!("s{at}").as_bytes(), Value::String(&value), NONE);
        last.unlock(locked);
        put.unwrap();
    }
    // What goes gives its addresses back.
    stores.truncate(made / 2);
    let (half, less) = mapped();
    assert!(half == made / 2 && less < taken);
    drop(stores);
    assert_eq!(mapped(), (0, 0));
    say("all well");
}

#[test]
fn each_of_10_000_namespaces_takes_more_than_64_mib() {
    let needed = MANY as u64 + 100;
    let files = getrlimit(Resource::Nofile);
    let enough = files.maximum.is_none_or(|most| most >= needed);
    // As Node does when it starts. More files are no harm to the other tests.
    if files.current.is_some_and(|now| now < needed) {
        let current = files.maximum;
        setrlimit(Resource::Nofile, Rlimit { current, ..files }).unwrap();
    }
    let mut other = start("many", &create(1), 0);
    let made = other.hear();
    if enough {
        assert!(
            made.starts_with("made 10000 of ") && made.ends_with("None"),
            "{made}"
        );
        let committed: usize = made.split(' ').nth(3).unwrap().parse().unwrap();
        assert!(committed <= MANY * 8192, "{made}");
    } else {
        skipped(format!("in part, the files do not reach: {made}"));
        assert!(made.contains("raise `ulimit -n`"), "{made}");
    }
    assert_eq!(other.hear(), "all well");
    assert!(other.passed());
}

#[test]
fn what_does_not_fit_into_the_addresses_says_so() {
    let store = create(1);
    let value = vec![b'v'; 70 << 20];
    let mut cache = store.lock(LONG).unwrap();
    let refused = cache.set(b"skey", Value::String(&value), None, 1.0).unwrap_err();
    assert_eq!(refused.code.as_str(), "ERR_OUT_OF_MEMORY");
    assert!(
        refused
            .message
            .contains("MiB of addresses that are reserved for this namespace"),
        "{refused}"
    );
}

#[test]
fn a_process_without_files_says_what_to_do() {
    assert!(start("starved", &create(1), 0).passed());
}

fn starved(store: &Store) {
    let ticket = store.ticket().unwrap();
    let files = getrlimit(Resource::Nofile);
    let fd = std::fs::File::open("/dev/null").unwrap().as_raw_fd() as u64;
    // Enough to look at /proc with.
    for open in 0..8 {
        let current = Some(fd + open);
        setrlimit(Resource::Nofile, Rlimit { current, ..files }).unwrap();
        let mut held = vec![];
        let refused = loop {
            match Memfd::create(1 << 20, "") {
                Ok(memfd) => held.push(memfd),
                Err(error) => break error,
            }
        };
        let also = Store::attach(&ticket).unwrap_err();
        for error in [refused, also] {
            assert!(error.message.contains("os error 24"), "{error}");
        }
    }
}

#[test]
fn memory_is_taken_as_it_is_needed_and_given_back() {
    let store = create(1 << 30);
    let empty = committed(&store);
    assert!(empty <= 64 * 1024, "{empty}");
    let value = vec![b'v'; 1000];
    for at in 0..5_000 {
        let mut cache = store.lock(LONG).unwrap();
        cache
            .set(format!("s{at}").as_bytes(), Value::String(&value), None, 1.0)
            .unwrap();
    }
    let full = committed(&store);
    assert!((5_000_000..7_500_000).contains(&full), "{full}");
    assert_eq!(segment(&store.lock(LONG).unwrap()).recover().unwrap().kept, 5_000);
    assert!(
        committed(&store) <= full,
        "a rebuild takes no memory of the segment"
    );
    store.lock(LONG).unwrap().reset().unwrap();
    assert!(committed(&store) <= 4 * 64 * 1024, "{}", committed(&store));
    segment(&store.lock(LONG).unwrap()).validate().unwrap();
}

#[test]
fn nothing_of_a_mapping_can_be_cut_off() {
    let memfd = Memfd::create(1 << 20, "").unwrap();
    let path = format!("/proc/self/fd/{}", memfd.ticket([0, 0]).fd);
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    assert!(file.set_len(0).is_err());
    assert!(file.set_len(1 << 21).is_err());
    assert!(memfd.commit(0..(1 << 20) + 1).is_err());
    assert_eq!(memfd.written(0..1 << 20), 0);
    memfd.commit(4096..65_536).unwrap();
    assert_eq!(memfd.committed(), 65_536 - 4096);
    assert_eq!(memfd.written(4096..1 << 20), 0, "asked for is not yet written");
    // SAFETY: inside the mapping, which nobody else uses.
    unsafe { memfd.base().add(4096).write(1) };
    assert_eq!(memfd.written(4096..1 << 20), 4096);
    assert_eq!(memfd.written(0..1 << 20), 0);
    memfd.decommit(4096..65_536);
    assert_eq!((memfd.committed(), memfd.written(4096..1 << 20)), (0, 0));
}

#[test]
fn what_could_not_be_taken_over_can_be_later() {
    let theirs = create(1);
    let mut cache = theirs.lock(LONG).unwrap();
    cache.set(b"stheirs", Value::Null, None, 1.0).unwrap();
    drop(cache);
    let ticket = theirs.ticket().unwrap();

    let slots = Slots::default();
    let own = Store::heap(slots.clone());
    let mut cache = own.lock(LONG).unwrap();
    let first = slots.take();
    cache.set(b"sslot", Value::Slot(first), None, 1.0).unwrap();
    // More than is reserved there.
    let value = vec![b'v'; 70 << 20];
    cache.set(b"slarge", Value::String(&value), None, 1.0).unwrap();
    drop(cache);
    let refused = own.adopt(&ticket, &slots, |_| None).unwrap_err();
    assert_eq!(refused.code.as_str(), "ERR_OUT_OF_MEMORY");

    let cache = theirs.lock(LONG).unwrap();
    assert!(!segment(&cache).has_slot_owner());
    cache.readable(None).unwrap();
    assert!(cache.has(b"stheirs", 1.0).unwrap() && !cache.has(b"sslot", 1.0).unwrap());
    segment(&cache).validate().unwrap();
    drop(cache);
    assert_eq!(slots.in_use(), 1);
    let mut cache = own.lock(LONG).unwrap();
    assert!(!cache.is_shared());
    cache.del(b"slarge").unwrap();
    drop(cache);

    own.adopt(&ticket, &slots, |_| None).unwrap();
    let cache = theirs.lock(LONG).unwrap();
    assert!(segment(&cache).has_slot_owner());
    assert_eq!(cache.len(), 2);
    drop(cache);
    drop(own.lock(LONG).unwrap());
    assert_eq!(slots.in_use(), 1, "the value is still an entry's");
}

/// The version of an entry, as `getEntry` gives it.
fn version(store: &Store, key: &[u8]) -> f64 {
    let mut cache = store.lock(LONG).unwrap();
    let facts = cache.get_entry(key, 1.0, |_| Ok(())).unwrap();
    facts.expect("an entry").version
}

/// Whether an entry has a version.
fn has_version(store: &Store, key: &[u8], version: f64) -> bool {
    store.lock(LONG).unwrap().has_version(key, version, 1.0).unwrap()
}

#[test]
fn a_version_of_one_segment_is_that_of_no_entry_where_both_come_together() {
    let slots = Slots::default();
    let [theirs, own] = [create(1), create(1)];
    // A new segment counts from the time on at which it was made. Here both count from the same number on.
    let last = segment(&own.lock(LONG).unwrap()).last_version();
    segment(&theirs.lock(LONG).unwrap()).renew_versions(last);
    let last = segment(&theirs.lock(LONG).unwrap()).last_version();
    segment(&own.lock(LONG).unwrap()).renew_versions(last);
    for store in [&theirs, &own] {
        let mut cache = store.lock(LONG).unwrap();
        for key in [b"sa", b"sb"] {
            cache.set(key, Value::Null, None, 1.0).unwrap();
        }
    }
    theirs
        .lock(LONG)
        .unwrap()
        .set(b"sc", Value::Null, None, 1.0)
        .unwrap();
    let old: Vec<_> = [&theirs, &own]
        .into_iter()
        .flat_map(|store| [version(store, b"sa"), version(store, b"sb")])
        .collect();
    assert_eq!(old[..2], old[2..]);
    let highest = version(&theirs, b"sc");
    theirs.lock(LONG).unwrap().del(b"sc").unwrap();

    own.adopt(&theirs.ticket().unwrap(), &slots, |_| None).unwrap();
    for key in [b"sa", b"sb"] {
        assert!(version(&own, key) > highest);
        assert!(!old.iter().any(|version| has_version(&own, key, *version)));
    }
    segment(&own.lock(LONG).unwrap()).validate().unwrap();
}

#[test]
fn a_version_on_the_heap_is_that_of_no_entry_in_a_segment() {
    let slots = Slots::default();
    let own = Store::heap(slots.clone());
    own.lock(LONG)
        .unwrap()
        .set(b"sa", Value::Null, None, 1.0)
        .unwrap();
    let old = version(&own, b"sa");
    assert!(has_version(&own, b"sa", old));
    own.share(&slots, |_| None).unwrap();
    for _ in 0..100 {
        assert!(!has_version(&own, b"sa", old));
        own.lock(LONG)
            .unwrap()
            .set(b"sa", Value::Null, None, 1.0)
            .unwrap();
    }
    // A namespace that is made again has other versions, too.
    let again = Store::heap(slots);
    again
        .lock(LONG)
        .unwrap()
        .set(b"sa", Value::Null, None, 1.0)
        .unwrap();
    assert!(version(&again, b"sa") > old);
}

#[test]
fn a_door_that_goes_takes_its_slots_along() {
    let slots = Slots::default();
    let segment = Segment::with_capacity(1 << 26, "").unwrap();
    let owner = Store::shared(segment.with_slots(slots.clone()));
    let other = Store::attach(&owner.ticket().unwrap()).unwrap();
    for key in [b"sa", b"sb"] {
        owner
            .lock(LONG)
            .unwrap()
            .storage_mut()
            .put(key, Value::Slot(slots.take()), NONE)
            .unwrap();
    }
    other.lock(LONG).unwrap().del(b"sa").unwrap();
    assert_eq!(slots.in_use(), 2, "the owner has not looked yet");
    drop(owner.lock(LONG).unwrap());
    assert_eq!(slots.in_use(), 1);
    drop(owner);
    assert_eq!(slots.in_use(), 0);
    assert_eq!(other.lock(LONG).unwrap().len(), 0);
}

// ---- a process that has no memory ----

/// Reads what does not fit in the memory that it is left, then what does.
fn starve(store: &Store, large: usize) {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    let unlimited = getrlimit(Resource::As);
    let limit = |bytes| {
        let limit = Rlimit {
            current: bytes,
            ..unlimited
        };
        setrlimit(Resource::As, limit).unwrap();
    };
    let full = Error::out_of_memory();
    let read = |call: &Call<'_, &[u8]>| {
        let mut cache = store.lock(LONG).unwrap();
        command::run(&mut *cache, call, 1.0, &mut Copies::new(usize::MAX))
    };
    limit(Some(pages * 4096 + large as u64 / 2));
    // The large one is the next to go: it stays.
    assert_eq!(read(&Call::Pop), Err(full.clone()));
    for call in [
        Call::Get(&b"slarge"[..]),
        Call::Peek(b"slarge"),
        Call::Values,
        Call::Dump,
    ] {
        assert_eq!(read(&call), Err(full.clone()), "{call:?}");
    }
    assert!(read(&Call::Has(b"slarge")).is_ok());
    assert!(read(&Call::Get(b"s0")).is_ok());
    assert!(read(&Call::Keys).is_ok());
    limit(unlimited.current);
    for call in [Call::Get(&b"slarge"[..]), Call::Values, Call::Dump] {
        assert!(read(&call).is_ok(), "{call:?}");
    }
}

#[test]
fn a_read_without_memory_is_an_error_and_no_damage() {
    const LARGE: usize = 32 << 20;
    let store = create(256 << 20);
    let mut cache = store.lock(LONG).unwrap();
    cache
        .set(b"slarge", Value::String(&vec![b'l'; LARGE]), None, 1.0)
        .unwrap();
    for at in 0..1000 {
        let key = format!("s{at}");
        cache
            .set(
                key.as_bytes(),
                Value::String(&vec![b'v'; LARGE / 1000]),
                None,
                1.0,
            )
            .unwrap();
    }
    cache.get(b"slarge", 1.0, |_| Ok(())).unwrap();
    for at in 0..1000 {
        cache.get(format!("s{at}").as_bytes(), 1.0, |_| Ok(())).unwrap();
    }
    drop(cache);
    assert!(start("starve", &store, LARGE).passed());
    let cache = store.lock(LONG).unwrap();
    assert_eq!(segment(&cache).recoveries(), (0, 0), "nobody rebuilt it");
    assert_eq!(cache.len(), 1001);
}

fn set_tagged(store: &Store, key: &[u8], value: Value<'_>, tag: &str) {
    let tags = TagList::parse(&serde_json::json!([tag])).unwrap();
    let terms = Terms {
        extras: Extras { tags: tags.tags() },
        ..Terms::default()
    };
    store.lock(LONG).unwrap().set_on(key, value, &terms, 1.0).unwrap();
}

fn invalidate(store: &Store, tag: &str) {
    let tags = TagList::parse(&serde_json::json!([tag])).unwrap();
    store.lock(LONG).unwrap().invalidate(tags.tags());
}

fn has(store: &Store, key: &[u8]) -> bool {
    store.lock(LONG).unwrap().has(key, 1.0).unwrap()
}

#[test]
fn tags_go_with_their_entries_from_the_heap_to_a_segment_and_what_is_outdated_does_not_come_back() {
    let slots = Slots::default();
    let own = Store::heap(slots.clone());
    set_tagged(&own, b"sa", Value::Slot(slots.take()), "a");
    set_tagged(&own, b"sb", Value::Slot(slots.take()), "b");
    set_tagged(&own, b"sc", Value::String(b"text"), "c");
    invalidate(&own, "b");
    let ticket = own.share(&slots, |_| None).unwrap();
    assert_eq!(slots.in_use(), 1, "of what was outdated nothing is kept");
    let worker = Store::attach(&ticket).unwrap();
    assert_eq!(
        [b"sa", b"sb", b"sc"].map(|key| has(&worker, key)),
        [true, false, true]
    );
    invalidate(&worker, "a");
    assert!(!has(&own, b"sa") && has(&own, b"sc"));
    own.lock(LONG).unwrap().prune(1.0).unwrap();
    assert_eq!(slots.in_use(), 0);

    // A primary that comes later: its own entries, and those of the segment.
    let theirs = create(1);
    set_tagged(&theirs, b"sd", Value::Null, "d");
    set_tagged(&theirs, b"se", Value::Null, "e");
    let old = TagList::parse(&serde_json::json!(["e"])).unwrap();
    theirs.lock(LONG).unwrap().storage_mut().invalidate(old.tags());
    let late = TagList::parse(&serde_json::json!(["c"])).unwrap();
    own.lock(LONG).unwrap().storage_mut().invalidate(late.tags());
    own.adopt(&theirs.ticket().unwrap(), &slots, |_| None).unwrap();
    assert_eq!(
        [b"sc", b"sd", b"se"].map(|key| has(&own, key)),
        [false, true, false]
    );
    invalidate(&worker, "d");
    assert!(!has(&own, b"sd"));
    segment(&own.lock(LONG).unwrap()).validate().unwrap();
}
