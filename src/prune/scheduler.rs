//! The scheduler: the thread that waits for the due times of a [`Timetable`] and calls its callbacks.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use parking_lot::Mutex;

use super::Pattern;
use super::timetable::{Planned, Timetable};

type Callback = Box<dyn Fn() + Send>;
type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Runs callbacks by cron [`Pattern`]s in local time, all on one thread that exists only while there are jobs.
///
/// Dropping the scheduler ends all jobs. The drop waits for a call under way, ends the thread and joins it, so that no
/// callback runs afterwards. So do not drop the scheduler while you have a lock that a callback takes. A scheduler that is
/// dropped by one of its callbacks cannot wait: its thread ends after that call.
///
/// ```
/// use lru_cache_for_clusters::prune::{Pattern, Scheduler};
///
/// let scheduler = Scheduler::new();
/// let job = scheduler.schedule(Pattern::parse("*/30 * * * * *")?, || println!("prune"))?;
/// drop(job); // no more calls, and no more thread
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Scheduler {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_id: u64,
    /// Each job has a reference to the mailbox. When the last job is dropped, the mailbox closes, and the thread ends.
    mailbox: Weak<Sender<Message>>,
    /// The running thread, and earlier threads that may still be in their last call.
    threads: Vec<JoinHandle<()>>,
}

enum Message {
    Add(u64, Planned<Callback>),
    Remove(u64),
    Stop,
}

impl Scheduler {
    /// A scheduler. It has no thread until the first job.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(Utc::now))
    }

    fn with_clock(clock: Clock) -> Self {
        Scheduler {
            clock,
            state: Mutex::default(),
        }
    }

    /// Calls `callback` whenever `pattern` comes due, until the returned [`Job`] is dropped.
    ///
    /// The scheduler's thread makes the calls, one at a time, so a slow callback delays the others. Several due times that
    /// pass during a call, or while the machine sleeps, cause one call. A panic in `callback` ends that call only.
    ///
    /// # Errors
    /// The operating system does not start the thread.
    pub fn schedule(&self, pattern: Pattern, callback: impl Fn() + Send + 'static) -> io::Result<Job> {
        let planned = Planned::new(pattern, Box::new(callback) as Callback, (self.clock)());
        let mut state = self.state.lock();
        let mailbox = match state.mailbox.upgrade() {
            Some(mailbox) => mailbox,
            None => state.start(self.clock.clone())?,
        };
        let id = state.next_id;
        state.next_id += 1;
        // The thread reads as long as the mailbox and the scheduler exist, so the message arrives.
        let _ = mailbox.send(Message::Add(id, planned));
        Ok(Job { id, mailbox })
    }
}

impl State {
    fn start(&mut self, clock: Clock) -> io::Result<Arc<Sender<Message>>> {
        for thread in self.threads.extract_if(.., |thread| thread.is_finished()) {
            let _ = thread.join();
        }
        let (sender, receiver) = unbounded();
        let thread = thread::Builder::new()
            .name("lru-cache-prune".to_owned())
            .spawn(move || run(&receiver, &*clock))?;
        self.threads.push(thread);
        let mailbox = Arc::new(sender);
        self.mailbox = Arc::downgrade(&mailbox);
        Ok(mailbox)
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").finish_non_exhaustive()
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if let Some(mailbox) = state.mailbox.upgrade() {
            let _ = mailbox.send(Message::Stop);
        }
        for thread in state.threads.drain(..) {
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// A scheduled callback. Dropping the job removes the callback.
///
/// The drop never waits, not even inside the callback. A call that has begun, or is about to begin, is still made. The
/// scheduler's thread drops the callback after that.
#[derive(Debug)]
#[must_use = "dropping the job removes it from the schedule"]
pub struct Job {
    id: u64,
    mailbox: Arc<Sender<Message>>,
}

impl Drop for Job {
    fn drop(&mut self) {
        // After the scheduler was dropped, no thread reads this, and the job is gone already.
        let _ = self.mailbox.send(Message::Remove(self.id));
    }
}

/// Runs the thread, until it gets `Stop` or the last [`Job`] is dropped, which closes the mailbox.
fn run(mailbox: &Receiver<Message>, clock: &dyn Fn() -> DateTime<Utc>) {
    let mut timetable = Timetable::new();
    loop {
        // Callbacks are called and dropped inside this closure. If one of them panics, the timetable is consistent.
        let step = catch_unwind(AssertUnwindSafe(|| {
            timetable.tick(clock(), |callback: &Callback| callback());
            let message = match timetable.wait(clock()) {
                Some(wait) => mailbox.recv_timeout(wait),
                None => mailbox.recv().map_err(RecvTimeoutError::from),
            };
            match message {
                Ok(Message::Add(id, job)) => timetable.insert(id, job),
                Ok(Message::Remove(id)) => timetable.remove(id),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            }
            true
        }));
        if matches!(step, Ok(false)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use chrono::TimeDelta;

    use super::*;

    /// Far longer than anything here takes: a wait this long is a failure.
    const LONG: Duration = Duration::from_secs(30);

    /// A scheduler with a clock that stands still until it is set.
    struct Bench {
        scheduler: Scheduler,
        time: Arc<Mutex<DateTime<Utc>>>,
    }

    impl Bench {
        fn new() -> Self {
            let time = Arc::new(Mutex::new("2026-01-01T10:00:00Z".parse().unwrap()));
            let clock = Arc::clone(&time);
            Bench {
                scheduler: Scheduler::with_clock(Arc::new(move || *clock.lock())),
                time,
            }
        }

        fn every_second(&self, callback: impl Fn() + Send + 'static) -> Job {
            self.scheduler
                .schedule(Pattern::parse("* * * * * *").unwrap(), callback)
                .unwrap()
        }

        /// Sets the clock one second forward and has the thread look at it. There must be a job.
        fn second(&self) {
            *self.time.lock() += TimeDelta::seconds(1);
            let mailbox = self.scheduler.state.lock().mailbox.upgrade().unwrap();
            mailbox.send(Message::Remove(u64::MAX)).unwrap();
        }

        /// Waits for the threads to end by themselves.
        fn join(&self) {
            let threads: Vec<_> = self.scheduler.state.lock().threads.drain(..).collect();
            within_long(move || threads.into_iter().for_each(|thread| thread.join().unwrap()));
        }
    }

    fn within_long(act: impl FnOnce() + Send + 'static) {
        let (sender, done) = unbounded();
        thread::spawn(move || {
            act();
            sender.send(()).unwrap();
        });
        done.recv_timeout(LONG).unwrap();
    }

    #[test]
    fn calls_at_each_tick() {
        let bench = Bench::new();
        let (sender, calls) = unbounded();
        let time = Arc::clone(&bench.time);
        let _job = bench.every_second(move || sender.send((*time.lock(), thread::current().id())).unwrap());
        for second in 1..=3 {
            bench.second();
            let (time, thread) = calls.recv_timeout(LONG).unwrap();
            assert_eq!(
                time,
                "2026-01-01T10:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(second)
            );
            assert_eq!(thread, bench.scheduler.state.lock().threads[0].thread().id());
        }
        drop(bench);
        assert!(calls.is_empty());
    }

    #[test]
    fn a_dropped_job_is_not_called() {
        let bench = Bench::new();
        let (sender, calls) = unbounded();
        let (other_sender, other_calls) = unbounded();
        let job = bench.every_second(move || sender.send(()).unwrap());
        let _other = bench.every_second(move || other_sender.send(()).unwrap());
        drop(job);
        // The sender, and so the callback, is dropped without a call.
        assert_eq!(calls.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
        bench.second();
        other_calls.recv_timeout(LONG).unwrap();
    }

    #[test]
    fn the_thread_lives_as_long_as_there_are_jobs() {
        let bench = Bench::new();
        assert!(bench.scheduler.state.lock().threads.is_empty());
        let (first, second) = (bench.every_second(|| ()), bench.every_second(|| ()));
        assert_eq!(bench.scheduler.state.lock().threads.len(), 1);
        drop(first);
        assert!(bench.scheduler.state.lock().mailbox.upgrade().is_some());
        drop(second);
        bench.join();

        let (sender, calls) = unbounded();
        let _job = bench.every_second(move || sender.send(()).unwrap());
        bench.second();
        calls.recv_timeout(LONG).unwrap();
    }

    #[test]
    fn dropping_the_scheduler_waits_for_a_call_and_ends_all() {
        let bench = Bench::new();
        let ended = Arc::new(AtomicBool::new(false));
        let (started, start) = unbounded();
        let (finish, finished) = unbounded();
        let job = bench.every_second({
            let ended = Arc::clone(&ended);
            move || {
                started.send(()).unwrap();
                finished.recv().unwrap();
                ended.store(true, Ordering::Relaxed);
            }
        });
        bench.second();
        start.recv_timeout(LONG).unwrap();
        let mailbox = bench.scheduler.state.lock().mailbox.upgrade().unwrap();
        thread::spawn(move || {
            // Once the drop has left its message, it can only be waiting.
            while mailbox.is_empty() {
                thread::yield_now();
            }
            finish.send(()).unwrap();
        });
        drop(bench);
        assert!(ended.load(Ordering::Relaxed));
        assert_eq!(
            Arc::strong_count(&ended),
            1,
            "the callback outlived the scheduler"
        );
        drop(job);
    }

    #[test]
    fn a_job_can_be_dropped_in_its_own_callback() {
        let bench = Bench::new();
        let own_job = Arc::new(Mutex::new(None));
        let (sender, calls) = unbounded();
        let job = bench.every_second({
            let own_job = Arc::clone(&own_job);
            move || {
                drop(own_job.lock().take());
                sender.send(()).unwrap();
            }
        });
        *own_job.lock() = Some(job);
        bench.second();
        bench.join();
        assert_eq!(calls.iter().count(), 1);
    }

    #[test]
    fn the_scheduler_can_be_dropped_in_a_callback() {
        let bench = Bench::new();
        let time = Arc::clone(&bench.time);
        let scheduler = Arc::new(Mutex::new(None));
        let (sender, calls) = unbounded();
        let job = bench.every_second({
            let scheduler = Arc::clone(&scheduler);
            move || {
                drop(scheduler.lock().take());
                sender.send(()).unwrap();
            }
        });
        *scheduler.lock() = Some(bench.scheduler);
        *time.lock() += TimeDelta::seconds(1);
        job.mailbox.send(Message::Remove(u64::MAX)).unwrap();
        within_long(move || assert_eq!(calls.iter().count(), 1));
        drop(job);
    }

    #[test]
    fn a_panic_ends_one_call_only() {
        let bench = Bench::new();
        let (sender, calls) = unbounded();
        let other_sender = sender.clone();
        // `resume_unwind`: a panic that prints nothing.
        let _job = bench.every_second(move || {
            sender.send("panics").unwrap();
            resume_unwind(Box::new(()));
        });
        let _other = bench.every_second(move || other_sender.send("other").unwrap());
        for _ in 0..2 {
            bench.second();
            assert_eq!(calls.recv_timeout(LONG), Ok("panics"));
            assert_eq!(calls.recv_timeout(LONG), Ok("other"));
        }
    }

    #[test]
    fn a_panic_in_a_dropped_callback_harms_nobody() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                resume_unwind(Box::new(()));
            }
        }
        let bench = Bench::new();
        let (sender, calls) = unbounded();
        let bomb = Bomb;
        drop(bench.every_second(move || _ = &bomb));
        let _other = bench.every_second(move || sender.send(()).unwrap());
        bench.second();
        calls.recv_timeout(LONG).unwrap();
    }
}
