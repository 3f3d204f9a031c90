//! Child processes of tests. A child is this test program once more: it runs the test `child_process` of one module
//! alone, which does there what its arguments say. Run as an ordinary test, `child_process` does nothing.

use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env,
    fmt::Display,
    io::{BufRead, BufReader, Read, Write},
    process::{self, ChildStdout, Command, Stdio},
    thread,
};

/// The variable of a child's environment that has its arguments.
const ARGUMENTS: &str = "TEST_CHILD_ARGUMENTS";

/// Begins each line that a child says. Other lines are those of its test harness.
const SAID: &str = "said ";

/// The first line of each child.
const STARTED: &str = "started";

/// The arguments of this process, if a test started it as a child.
pub fn arguments() -> Option<String> {
    let arguments = env::var(ARGUMENTS).ok()?;
    say(STARTED);
    Some(arguments)
}

/// Says a line to the test that started this process.
pub fn say(line: impl Display) {
    println!("\n{SAID}{line}");
}

/// Says on the terminal what a test could not do here. The output of `eprintln!` is shown for failed tests only.
pub fn skipped(why: impl Display) {
    writeln!(std::io::stderr(), "\nskipped: {why}").unwrap();
}

/// A child process. It is killed when this value is dropped.
pub struct Child {
    process: process::Child,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts `child_process` of a module (its `module_path!()`), and waits until it runs.
    pub fn start(module: &str, arguments: impl Display) -> Self {
        Self::start_by(Command::new(env::current_exe().unwrap()), module, arguments)
    }

    /// As [`Child::start`], by a command that runs this test program, see [`unshared`].
    pub fn start_by(mut command: Command, module: &str, arguments: impl Display) -> Self {
        let (_crate, module) = module.split_once("::").unwrap();
        let mut process = command
            .args(["--exact", &format!("{module}::child_process")])
            .args(["--nocapture", "--quiet"])
            .env(ARGUMENTS, arguments.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut child = Self { process, output };
        // A test program that finds no test of that name passes.
        assert_eq!(child.hear(), STARTED);
        child
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Stops it, and waits until all of its threads stand still.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let process = Process::new(self.process.id() as i32).unwrap();
        let stands = || {
            let mut threads = process.tasks().unwrap().flatten();
            threads.all(|thread| thread.stat().is_ok_and(|stat| stat.state == 'T'))
        };
        while !stands() {
            thread::yield_now();
        }
    }

    /// Writes a line to its input.
    pub fn tell(&mut self, line: impl Display) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends its input.
    pub fn end_input(&mut self) {
        drop(self.process.stdin.take());
    }

    /// The next line that it says. Waits for it.
    pub fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the child process has ended and said nothing more");
            if let Some(said) = line.trim_end().strip_prefix(SAID) {
                return said.to_owned();
            }
        }
    }

    /// Tells it a line and returns the line that it says.
    pub fn ask(&mut self, line: impl Display) -> String {
        self.tell(line);
        self.hear()
    }

    /// Waits until it has ended, and returns what it has written since the last line that was heard.
    pub fn rest(&mut self) -> Vec<u8> {
        self.process.wait().unwrap();
        let mut rest = Vec::new();
        self.output.read_to_end(&mut rest).unwrap();
        rest
    }

    /// Ends its input and waits until it has ended. Returns whether its test passed.
    pub fn passed(mut self) -> bool {
        self.end_input();
        self.process.wait().unwrap().success()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Options of `unshare` (of util-linux) for another PID namespace that sees the `/proc` of this one.
pub const PID: &[&str] = &["--pid", "--fork", "--kill-child"];
/// Options of `unshare` for another PID namespace with a `/proc` of its own.
pub const PID_AND_PROC: &[&str] = &["--pid", "--fork", "--kill-child", "--mount-proc"];
/// Options of `unshare` for another time namespace.
pub const TIME: &[&str] = &["--time", "--boottime", "100000", "--fork", "--kill-child"];

/// Options of `unshare` for another network namespace.
pub const NET: &[&str] = &["--net"];

/// A command that runs this test program in other namespaces of the kernel. `None`, and a visible line, where the system
/// does not let this process make them.
pub fn unshared(options: &[&str]) -> Option<Command> {
    let as_root: &[&str] = &["--user", "--map-root-user"];
    for user in [&[], as_root] {
        let command = |program| {
            let mut command = Command::new("unshare");
            command.args(user).args(options).arg("--").arg(program);
            command
        };
        let mut probe = command("true".as_ref());
        let probe = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if probe.is_ok_and(|status| status.success()) {
            return Some(command(env::current_exe().unwrap().as_os_str()));
        }
    }
    skipped(format!("unshare {options:?} is not to be had here"));
    None
}
