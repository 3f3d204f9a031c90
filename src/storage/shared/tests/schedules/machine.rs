//! A machine with several threads and a memory that keeps what was stored before. The threads are tasks of `shuttle`; the
//! machine says which one goes on.
//!
//! The memory is that of C11 without out-of-thin-air values, as views: each word has the list of its values, and each thread
//! the number of the oldest value of each word that it may still read. A release store takes the view of its thread along,
//! and an acquire load of its value adds it to that of the loading thread. Fences do so for the relaxed accesses after and
//! before them. The values of a word are in the order in which the threads stored them, and a load never reads a value that
//! is stored later: so a load is never late. (Acquire and release are what forbids that; a check of them needs other means.)
//!
//! What happens outside, such as the message that says that a call has ended, orders as on real processors: whoever begins a
//! call sees what calls saw that had ended before. What a call stored is seen from its last swap on (`done`).

use std::{
    any::Any,
    cell::RefCell,
    collections::HashMap,
    mem::offset_of,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst},
        },
    },
};

use foldhash::fast::FixedState;
use shuttle::{
    Config, Runner,
    scheduler::{Schedule, Scheduler, Task, TaskId},
};

use super::{
    super::super::{
        Geometry, Segment,
        atomics::watched::{self, Model, Place},
        layout::Header,
        memory::Memory,
    },
    explore::{Choices, Kind},
};

/// What orderings a machine has not, to show that a check needs them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Without {
    #[default]
    Nothing,
    AcquireFences,
    ReleaseFences,
    AcquireLoads,
    ReleaseStores,
    /// Swaps and additions order nothing.
    OrderOfChanges,
}

/// A check: what the threads do, and what must hold when all have come to their end.
pub struct Check {
    /// The address of the memory that they share.
    pub base: usize,
    pub threads: Vec<Box<dyn FnOnce() + Send>>,
    pub finish: Box<dyn FnOnce()>,
}

type View = Vec<u32>;

#[derive(Clone)]
struct Message {
    value: u64,
    view: Rc<View>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ready,
    /// For the lock.
    Waits,
    Over,
    Killed,
}

struct Thread {
    status: Status,
    has_lock: bool,
    view: View,
    /// What the next acquire fence adds to the view.
    acquired: View,
    /// The view at the last release fence.
    released: Rc<View>,
    /// What everybody sees when the call has ended.
    done: View,
    /// The failed exchange before.
    failed: Option<(usize, u64)>,
}

/// A word, or a number, that threads access.
#[derive(Default)]
struct Word {
    /// Its values, the oldest first; none before this schedule has stored one.
    history: Vec<Message>,
    /// The threads that accessed it without the lock, and those that wrote it.
    unlocked: u32,
    writers: u32,
    /// In some schedule, one thread accessed it without the lock and another one wrote it: threads switch there.
    is_contended: bool,
}

struct State {
    choices: Choices,
    without: Without,
    base: usize,
    is_active: bool,
    /// Stops all threads: there was a failure.
    is_ending: bool,
    current: usize,
    threads: Vec<Thread>,
    /// The number of each word in `words`, by its offset.
    numbers: HashMap<usize, usize, FixedState>,
    words: Vec<Word>,
    /// Words that are contended, as this schedule has found.
    found: Vec<usize>,
    /// What all calls that have ended saw.
    events: View,
    failure: Option<String>,
    trace: Option<Vec<String>>,
}

/// The machine of this thread, which is that of a test.
pub struct Machine(RefCell<State>);

thread_local! {
    static MACHINE: RefCell<Option<Rc<Machine>>> = const { RefCell::new(None) };
}

/// The payload that ends a killed thread.
struct Kill;

fn join(view: &mut View, other: &[u32]) {
    if view.len() < other.len() {
        view.resize(other.len(), 0);
    }
    for (mine, theirs) in view.iter_mut().zip(other) {
        *mine = (*mine).max(*theirs);
    }
}

fn of(view: &[u32], id: usize) -> u32 {
    view.get(id).copied().unwrap_or(0)
}

fn set(view: &mut View, id: usize, to: u32) {
    if view.len() <= id {
        view.resize(id + 1, 0);
    }
    view[id] = to;
}

fn acquires(order: Ordering) -> bool {
    matches!(order, Acquire | AcqRel | SeqCst)
}

fn releases(order: Ordering) -> bool {
    matches!(order, Release | AcqRel | SeqCst)
}

impl Place<'_> {
    fn address(&self) -> usize {
        match self {
            Place::Word(word) => (&raw const **word).addr(),
            Place::Long(long) => (&raw const **long).addr(),
        }
    }

    fn read(&self) -> u64 {
        match self {
            Place::Word(word) => word.load(Relaxed).into(),
            Place::Long(long) => long.load(Relaxed),
        }
    }

    fn write(&self, value: u64) {
        match self {
            Place::Word(word) => word.store(value as u32, Relaxed),
            Place::Long(long) => long.store(value, Relaxed),
        }
    }
}

/// Numbers whose halves a change stores: their two words are one place.
fn is_number_of_halves(offset: usize) -> bool {
    (offset_of!(Header, max)..offset_of!(Header, allow_stale)).contains(&offset)
        || offset & !7 == offset_of!(Header, limits_check)
}

/// Where a place is.
#[derive(Clone, Copy)]
struct At {
    offset: usize,
    /// The bit at which its value begins, where it is half of a number.
    half: Option<u32>,
    /// Of its word in `State::words`.
    number: usize,
}

impl State {
    fn thread(&mut self) -> &mut Thread {
        let current = self.current;
        &mut self.threads[current]
    }

    fn at(&mut self, place: Place<'_>) -> At {
        let offset = place.address().wrapping_sub(self.base);
        let (offset, half) = match place {
            Place::Word(_) if is_number_of_halves(offset) => (offset & !7, Some((offset & 4) as u32 * 8)),
            _ => (offset, None),
        };
        let Self { numbers, words, .. } = self;
        let number = *numbers.entry(offset).or_insert_with(|| {
            words.push(Word::default());
            words.len() - 1
        });
        At { offset, half, number }
    }

    fn note(&mut self, number: usize, writes: bool) {
        let bit = 1 << self.current;
        let has_lock = self.thread().has_lock;
        let word = &mut self.words[number];
        word.unlocked |= if has_lock { 0 } else { bit };
        word.writers |= if writes { bit } else { 0 };
        let is_contended =
            word.unlocked != 0 && word.writers != 0 && (word.unlocked | word.writers).count_ones() > 1;
        if is_contended && !word.is_contended {
            self.found.push(number);
        }
    }

    #[inline]
    fn tell(&mut self, what: &str, offset: usize, value: u64, from_newest: u32) {
        let current = self.current;
        if let Some(trace) = &mut self.trace {
            let old = if from_newest > 0 { " (old)" } else { "" };
            trace.push(format!("{current} {what} {}: {value:#x}{old}", name(offset)));
        }
    }

    /// Begins the list of values of a place that is about to be stored.
    fn keep_first(&mut self, place: Place<'_>, at: At) {
        if self.words[at.number].history.is_empty() {
            let value = match at.half {
                Some(_) => self.number_at(at.offset),
                None => place.read(),
            };
            let view = Rc::default();
            self.words[at.number].history.push(Message { value, view });
        }
    }

    fn push(&mut self, place: Place<'_>, at: At, value: u64, order: Ordering, is_change: bool) {
        self.keep_first(place, at);
        let history = &self.words[at.number].history;
        let number = history.len() as u32;
        let before = history.last().expect("a first value").clone();
        let whole = match at.half {
            Some(shift) => before.value & !(0xFFFF_FFFF << shift) | value << shift,
            None => value,
        };
        let is_release = releases(order)
            && match is_change {
                true => self.without != Without::OrderOfChanges,
                false => self.without != Without::ReleaseStores,
            };
        let thread = self.thread();
        set(&mut thread.view, at.number, number);
        let mut view = if is_release {
            Rc::new(thread.view.clone())
        } else {
            thread.released.clone()
        };
        if is_change {
            join(Rc::make_mut(&mut view), &before.view);
            if is_release {
                thread.done = thread.view.clone();
            }
        }
        self.words[at.number].history.push(Message { value: whole, view });
        place.write(value);
    }

    fn read_message(&mut self, id: usize, number: u32, is_acquire: bool) -> u64 {
        let Message { value, view } = self.words[id].history[number as usize].clone();
        let thread = self.thread();
        set(&mut thread.view, id, number);
        join(&mut thread.acquired, &view);
        if is_acquire {
            join(&mut thread.view, &view);
        }
        value
    }
}

/// What lies at an offset, for people.
fn name(offset: usize) -> String {
    let geometry = geometry();
    let header = [
        (64, "lock.owner"),
        (320, "gate"),
        (324, "epoch"),
        (384, "uses"),
        (448, "last_version"),
        (512, "intent.check"),
    ];
    if let Some((_, name)) = header.iter().find(|(at, _)| *at == offset) {
        return (*name).into();
    }
    let within = |at: usize, size: usize| ((offset - at) / size, (offset - at) % size);
    match offset {
        _ if offset < geometry.index_at => format!("header+{offset}"),
        _ if offset < geometry.rows_at => format!("bucket {}", within(geometry.index_at, 4).0),
        _ if offset < geometry.versions_at => {
            let (row, field) = within(geometry.rows_at, 64);
            format!("row {row}+{field}")
        }
        _ if offset < geometry.rings_at => format!("version {}", within(geometry.versions_at, 8).0),
        _ if offset < geometry.blocks_at => {
            let (ring, field) = within(geometry.rings_at, 20 * 1024);
            format!("ring {ring}+{field}")
        }
        _ => {
            let (block, field) = within(geometry.blocks_at, 64);
            format!("block {block}+{field}")
        }
    }
}

/// The geometry of the segments that are checked.
pub fn geometry() -> Geometry {
    Geometry::new(16, 16, 32).expect("a small size")
}

impl Machine {
    fn is_passive(&self) -> bool {
        let state = self.0.borrow();
        !state.is_active || state.threads[state.current].status == Status::Killed
    }

    /// Here another thread may go on.
    fn switch(&self, at: At) {
        let mut state = self.0.borrow_mut();
        if !state.words[at.number].is_contended {
            return;
        }
        let current = state.current;
        let others: Vec<_> = (0..state.threads.len())
            .filter(|at| *at != current && state.can_run(*at))
            .collect();
        let next = state.choices.choose(Kind::Switch, 1 + others.len());
        if next > 0 {
            state.current = others[next - 1];
            drop(state);
            self.let_others_run();
        }
    }

    fn let_others_run(&self) {
        shuttle::thread::yield_now();
        if self.0.borrow().is_ending {
            self.die();
        }
    }

    fn die(&self) -> ! {
        self.0.borrow_mut().thread().status = Status::Killed;
        resume_unwind(Box::new(Kill));
    }

    /// Here the thread may be killed.
    fn kill(&self) {
        let is_killed = self.0.borrow_mut().choices.choose(Kind::Kill, 2) == 1;
        if is_killed {
            self.0.borrow_mut().tell("is killed", 0, 0, 0);
            self.die();
        }
    }

    /// Waits until the lock may be had.
    pub fn wait_for_lock(&self) {
        loop {
            {
                let mut state = self.0.borrow_mut();
                if state.is_lock_free() {
                    return;
                }
                state.thread().status = Status::Waits;
            }
            self.let_others_run();
            self.0.borrow_mut().thread().status = Status::Ready;
        }
    }

    /// A call begins.
    pub fn call_begins(&self) {
        let mut state = self.0.borrow_mut();
        let events = state.events.clone();
        join(&mut state.thread().view, &events);
    }

    /// A call ends that has read.
    pub fn read_ends(&self) {
        let mut state = self.0.borrow_mut();
        let view = state.thread().view.clone();
        join(&mut state.events, &view);
    }

    /// A call ends that has written.
    pub fn write_ends(&self) {
        let mut state = self.0.borrow_mut();
        let view = state.thread().done.clone();
        join(&mut state.events, &view);
    }
}

impl State {
    fn can_run(&self, at: usize) -> bool {
        match self.threads[at].status {
            Status::Ready => true,
            Status::Waits => self.is_ending || self.is_lock_free(),
            Status::Over | Status::Killed => false,
        }
    }

    /// The number that lies at an offset of the header.
    fn number_at(&self, offset: usize) -> u64 {
        let number = (self.base + offset) as *const AtomicU64;
        // SAFETY: a number of the header, aligned as one, in memory that lives as long as the check.
        unsafe { &*number }.load(Relaxed)
    }

    fn is_lock_free(&self) -> bool {
        let owner = self.number_at(offset_of!(Header, lock));
        owner == 0
            || self
                .threads
                .get((owner as u32 as usize).wrapping_sub(1))
                .is_none_or(|thread| thread.status == Status::Killed)
    }
}

impl Model for Machine {
    fn load(&self, place: Place<'_>, order: Ordering) -> u64 {
        if self.is_passive() {
            return place.read();
        }
        let at = self.0.borrow_mut().at(place);
        self.switch(at);
        let mut state = self.0.borrow_mut();
        state.thread().failed = None;
        state.note(at.number, false);
        let values = state.words[at.number].history.len() as u32;
        if values == 0 {
            return place.read();
        }
        let oldest = of(&state.thread().view, at.number);
        let back = state.choices.choose(Kind::Old, (values - oldest) as usize) as u32;
        let is_acquire = acquires(order) && state.without != Without::AcquireLoads;
        let value = state.read_message(at.number, values - 1 - back, is_acquire);
        let value = at.half.map_or(value, |shift| value >> shift & 0xFFFF_FFFF);
        state.tell("loads", at.offset, value, back);
        value
    }

    fn store(&self, place: Place<'_>, value: u64, order: Ordering) {
        if self.is_passive() {
            if !self.0.borrow().is_active {
                place.write(value);
            }
            return;
        }
        let at = self.0.borrow_mut().at(place);
        self.kill();
        self.switch(at);
        let mut state = self.0.borrow_mut();
        state.note(at.number, true);
        state.tell("stores", at.offset, value, 0);
        state.push(place, at, value, order, false);
    }

    fn change(
        &self,
        place: Place<'_>,
        change: &dyn Fn(u64) -> Option<u64>,
        order: Ordering,
    ) -> Result<u64, u64> {
        let value = place.read();
        if self.is_passive() {
            return match change(value) {
                Some(new) => {
                    if !self.0.borrow().is_active {
                        place.write(new);
                    }
                    Ok(value)
                }
                None => Err(value),
            };
        }
        let at = self.0.borrow_mut().at(place);
        // An exchange that fails as before is no news.
        let is_news = self.0.borrow_mut().thread().failed != Some((at.offset, value));
        if is_news {
            self.kill();
            self.switch(at);
        }
        let value = place.read();
        let mut state = self.0.borrow_mut();
        state.note(at.number, true);
        state.keep_first(place, at);
        let newest = state.words[at.number].history.len() as u32 - 1;
        let new = change(value);
        if is_news {
            let what = if new.is_some() {
                "changes"
            } else {
                "fails to change"
            };
            state.tell(what, at.offset, value, 0);
        }
        let is_acquire = acquires(order) && new.is_some() && state.without != Without::OrderOfChanges;
        state.read_message(at.number, newest, is_acquire);
        let Some(new) = new else {
            state.thread().failed = Some((at.offset, value));
            return Err(value);
        };
        state.push(place, at, new, order, true);
        let thread = state.thread();
        thread.failed = None;
        if at.offset == offset_of!(Header, lock) {
            thread.has_lock = new != 0;
        }
        Ok(value)
    }

    fn fence(&self, order: Ordering) {
        if self.is_passive() {
            return;
        }
        let mut state = self.0.borrow_mut();
        let without = state.without;
        let thread = state.thread();
        if acquires(order) && without != Without::AcquireFences {
            let acquired = thread.acquired.clone();
            join(&mut thread.view, &acquired);
        }
        if releases(order) && without != Without::ReleaseFences {
            thread.released = Rc::new(thread.view.clone());
        }
    }

    fn this_thread(&self) -> u64 {
        7 << 32 | (self.0.borrow().current as u64 + 1)
    }

    fn is_alive(&self, owner: u64) -> bool {
        let mut state = self.0.borrow_mut();
        let at = (owner as u32 as usize).wrapping_sub(1);
        let gone = match state.threads.get(at) {
            Some(thread) if thread.status == Status::Killed => thread.view.clone(),
            Some(_) => return true,
            None => return false,
        };
        // Whoever is told by the kernel that a thread is gone sees what it has stored.
        join(&mut state.thread().view, &gone);
        false
    }
}

/// Lets `shuttle` run the thread that the machine says.
struct Obeys(Rc<Machine>);

impl Scheduler for Obeys {
    fn new_execution(&mut self) -> Option<Schedule> {
        let mut state = self.0.0.borrow_mut();
        if state.failure.is_some() {
            if state.trace.is_some() {
                return None;
            }
            // Once more, to tell how it came about.
            state.trace = Some(vec![]);
            state.choices.rewind();
            return Some(Schedule::new(0));
        }
        if !state.found.is_empty() {
            for number in std::mem::take(&mut state.found) {
                state.words[number].is_contended = true;
            }
            state.choices.restart();
        }
        state.choices.next().then(|| Schedule::new(0))
    }

    fn next_task(&mut self, runnable: &[&Task], _: Option<TaskId>, _: bool) -> Option<TaskId> {
        let mut state = self.0.0.borrow_mut();
        let main = TaskId::from(0);
        if !state.is_active || runnable.iter().any(|task| task.id() == main) {
            return Some(main);
        }
        if !state.can_run(state.current) {
            let mut ready: Vec<_> = (0..state.threads.len()).filter(|at| state.can_run(*at)).collect();
            if ready.is_empty() {
                let why = "every thread waits for the lock, and nobody has it".to_owned();
                state.failure.get_or_insert(why);
                state.is_ending = true;
                ready = (0..state.threads.len()).filter(|at| state.can_run(*at)).collect();
            }
            let next = state.choices.choose(Kind::Next, ready.len());
            state.current = *ready.get(next)?;
        }
        Some(TaskId::from(state.current + 1))
    }

    fn next_u64(&mut self) -> u64 {
        0
    }
}

/// The machine that runs this check.
pub fn machine() -> Rc<Machine> {
    MACHINE.with_borrow(|machine| machine.clone().expect("a check that runs"))
}

/// Ends a thread, or what is checked at the end, with a failure. Unlike a panic, this prints nothing: most failures are wanted.
pub fn fail(text: String) -> ! {
    resume_unwind(Box::new(text));
}

/// A segment is valid at the end of a check, and no process has rebuilt it.
pub fn check_whole<M: Memory>(segment: &Segment<M>) {
    segment.validate().unwrap_or_else(|what| fail(what));
    if segment.recoveries() != (0, 0) {
        fail("it was rebuilt".into());
    }
}

fn text_of(panic: Box<dyn Any + Send>) -> Option<String> {
    if panic.is::<Kill>() {
        return None;
    }
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Some(text.unwrap_or_else(|| "a panic".into()))
}

fn run_once(check: Check) {
    let machine = machine();
    {
        let mut state = machine.0.borrow_mut();
        state.base = check.base;
        let threads = check.threads.iter().map(|_| Thread {
            status: Status::Ready,
            has_lock: false,
            view: vec![],
            acquired: vec![],
            released: Rc::default(),
            done: vec![],
            failed: None,
        });
        state.threads = threads.collect();
        for word in &mut state.words {
            word.history.clear();
            (word.unlocked, word.writers) = (0, 0);
        }
        state.events.clear();
        state.is_ending = false;
    }
    let tasks: Vec<_> = check
        .threads
        .into_iter()
        .enumerate()
        .map(|(at, thread)| {
            shuttle::thread::spawn(move || {
                let ended = catch_unwind(AssertUnwindSafe(thread));
                let machine = self::machine();
                let mut state = machine.0.borrow_mut();
                state.threads[at].status = match ended {
                    Ok(()) => Status::Over,
                    Err(why) => {
                        if let Some(text) = text_of(why) {
                            state.failure.get_or_insert(text);
                            state.is_ending = true;
                        }
                        Status::Killed
                    }
                };
            })
        })
        .collect();
    {
        let mut state = machine.0.borrow_mut();
        state.is_active = true;
        let next = state.threads.len();
        state.current = state.choices.choose(Kind::Next, next);
    }
    for task in tasks {
        task.join().expect("the thread catches its panics");
    }
    let is_whole = {
        let mut state = machine.0.borrow_mut();
        state.is_active = false;
        state.failure.is_none()
    };
    if is_whole && let Err(why) = catch_unwind(AssertUnwindSafe(check.finish)) {
        machine.0.borrow_mut().failure = text_of(why);
    }
}

/// Runs a check in every schedule that `choices` says. Returns how many there were.
///
/// # Errors
/// What went wrong in the first one that failed, and how it came about.
pub fn run(
    choices: Choices,
    without: Without,
    check: impl Fn() -> Check + Send + Sync + 'static,
) -> Result<u32, String> {
    let machine = Rc::new(Machine(RefCell::new(State {
        choices,
        without,
        base: 0,
        is_active: false,
        is_ending: false,
        current: 0,
        threads: vec![],
        numbers: HashMap::with_hasher(FixedState::with_seed(1)),
        words: vec![],
        found: vec![],
        events: vec![],
        failure: None,
        trace: None,
    })));
    MACHINE.set(Some(machine.clone()));
    watched::install(Some(machine.clone()));
    let mut config = Config::new();
    config.failure_persistence = shuttle::FailurePersistence::None;
    config.stack_size = 256 * 1024;
    config.silence_warnings = true;
    let check = Arc::new(check);
    Runner::new(Obeys(machine.clone()), config).run(move || run_once(check()));
    watched::install(None);
    MACHINE.set(None);
    let state = machine.0.borrow();
    match &state.failure {
        Some(failure) => Err(format!(
            "{failure}\nafter {} schedules, in this one:\n{}",
            state.choices.schedules,
            state.trace.as_deref().unwrap_or_default().join("\n")
        )),
        None => Ok(state.choices.schedules),
    }
}
