//! Hand-over: how a process that has a segment gives the segment's file to a sibling, over an abstract Unix socket. It
//! needs no `/proc` and no rights on the other process. It works between processes that changed their user.
//!
//! Each namespace has one [`Address`], made of what all siblings know. An abstract address belongs to a network namespace,
//! and the kernel frees it with the last process that has its socket open. The socket is in one of these states:
//!
//! | state         | meaning                                                    | a sibling that comes                       |
//! |---------------|------------------------------------------------------------|--------------------------------------------|
//! | not bound     | no process has the segment                                 | binds the address, which is a [`Turn`]     |
//! | bound         | the process that has the turn looks further, or makes it   | is refused: comes again                    |
//! | listens       | there is a segment                                         | connects, and gets file and socket         |
//!
//! **All processes that have the segment have the listening socket**: it is handed over with the file, and each of them
//! serves it. So nobody has to take over when one of them ends, is killed or is stopped: there is no gap in which a second
//! segment could be made. Of two processes that bind at once, the kernel lets one; only that one makes a segment.
//!
//! The answer to a connection is one packet: [`MAGIC`], the PID and the time namespace of the segment, and two
//! descriptors, the file and the listening socket. The one who asks says nothing; so a process that serves reads nothing.
//!
//! What may go wrong, for the one who asks ([`ask`]). It waits until a deadline and never longer.
//!
//! | what                                                     | outcome                                                     |
//! |----------------------------------------------------------|-------------------------------------------------------------|
//! | the process that accepted was killed                     | the connection ends: asks again, another process serves      |
//! | the process that accepted was stopped, or all are stopped | silence until the deadline: [`Answer::None`]                |
//! | the event loop of that process is blocked                | nothing: a thread of its own serves                         |
//! | a process of another user listens (`SO_PEERCRED`)        | [`Answer::None`]                                            |
//! | a process of this user listens for something else        | the packet, the socket or the file is not ours: `None`      |
//! | this process has no descriptors left                     | a temporary error, or `None` where they lack for the answer |
//! | another network namespace                                | [`Answer::Nobody`]                                          |
//!
//! After `None`, and before a segment is made, [`super::siblings`] looks into `/proc`.
//!
//! `SO_PEERCRED` names the process that began to listen, which made the segment or found it in `/proc`. Its user is the
//! owner of the file. A process that serves may have changed its user since; it gives the file to the owner's processes.
//!
//! **The thread.** A process serves all its segments with one thread. It is started with the first of them and ends with
//! the last. It keeps no process alive. The thread never blocks but in `epoll_wait`: every socket is non-blocking. Where
//! the system gives no thread, the process serves nothing, and others do.

use parking_lot::Mutex;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll},
    io::{Errno, IoSlice, IoSliceMut, retry_on_intr, write},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
        accept_with, bind, connect, getsockname, listen, recvmsg, sendmsg, socket_with, sockopt,
    },
};
use std::{
    collections::BTreeMap,
    io,
    mem::{MaybeUninit, size_of},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{kernel::KernelNamespaces, refused::is_temporary};

/// The beginning of the names of all files and addresses of this package.
pub(super) const NAME: &str = "lru-cache-for-clusters:";

/// The beginning of every answer. Changes with the answer's form.
const MAGIC: u64 = u64::from_be_bytes(*b"LRUHAND1");

/// Bytes of an answer.
const ANSWER: usize = 3 * size_of::<u64>();

/// The descriptors of an answer.
const DESCRIPTORS: usize = 2;

/// Connections that wait to be accepted. The kernel takes `net.core.somaxconn` where that is less.
const BACKLOG: i32 = 4096;

/// How often one call asks again, because the process that accepted its connection has ended.
const ATTEMPTS: usize = 4;

/// After this time the thread tries again to accept, where the process had no descriptor for it.
const PAUSE: Duration = Duration::from_millis(50);

/// The thread's stack, in bytes.
const STACK: usize = 128 << 10;

/// The token of the event that ends the thread. All others are greater.
const ENDED: u64 = 0;

/// The thread's name, at most 15 bytes.
pub(super) const THREAD: &str = "lru-cache-share";

/// The abstract address of a namespace: the user and the name of the segment's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    user: u32,
    socket: SocketAddrUnix,
}

impl Address {
    /// The address of the memory `name` of a user. `name` has at most 60 bytes.
    pub(super) fn new(user: u32, name: &str) -> io::Result<Self> {
        let text = format!("{NAME}{user}:{name}");
        let socket = SocketAddrUnix::new_abstract_name(text.as_bytes())?;
        Ok(Self { user, socket })
    }
}

/// A socket of the kind of all hand-overs: packets over connections.
fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// The effective user of the process that connected, or that began to listen.
fn peer_user(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // Not by rustix: its result cannot hold the process id 0, which the kernel gives for other PID namespaces.
    let mut peer = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `peer`, which has that length. Every bit pattern is a `ucred`.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut len,
        )
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(peer.uid)
}

/// The right to look for a segment and to make it: the bound socket. At most one process has it for an address.
#[derive(Debug)]
pub(super) struct Turn {
    socket: OwnedFd,
    address: Address,
}

impl Turn {
    /// Takes the turn. `None` where another process or thread has it, or listens.
    ///
    /// # Errors
    /// The system has no such sockets, does not let this process have one, or lacks descriptors or memory for it.
    pub(super) fn take(address: &Address) -> io::Result<Option<Self>> {
        let socket = socket()?;
        match bind(&socket, &address.socket) {
            Ok(()) => Ok(Some(Self {
                socket,
                address: address.clone(),
            })),
            Err(Errno::ADDRINUSE) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    /// Begins to hand over the file of the segment that was found or made in this turn.
    pub(super) fn listen(self, file: Arc<OwnedFd>, namespaces: KernelNamespaces) -> io::Result<Handing> {
        listen(&self.socket, BACKLOG)?;
        Handing::begin(self.address, file, self.socket, namespaces)
    }
}

/// What [`ask`] has got.
#[derive(Debug)]
pub(super) enum Answer {
    /// A process has handed over its segment. Nothing is known of the file yet.
    Given {
        file: OwnedFd,
        /// The listening socket of the address, for [`Handing::begin`].
        listener: OwnedFd,
        /// The namespaces of the segment, as the other process says.
        namespaces: KernelNamespaces,
    },
    /// No process listens.
    Nobody,
    /// A process listens and gives nothing: why.
    None(&'static str),
}

/// Asks the processes that have the segment of an address for its file, this process first. Returns at the deadline at
/// the latest.
///
/// # Errors
/// The system has no such sockets, or this process lacks descriptors or memory for one.
pub(super) fn ask(address: &Address, deadline: Instant) -> io::Result<Answer> {
    if let Some(answer) = SERVED.lock().copy(address)? {
        return Ok(answer);
    }
    for _ in 0..ATTEMPTS {
        let connection = socket()?;
        match connect(&connection, &address.socket) {
            Ok(()) => {}
            Err(Errno::CONNREFUSED) => return Ok(Answer::Nobody),
            // The backlog is full.
            Err(Errno::AGAIN) => return Ok(Answer::None(SILENT)),
            Err(why) if is_temporary(&why.into()) => return Err(why.into()),
            Err(_) => return Ok(Answer::None(REFUSED)),
        }
        if peer_user(connection.as_fd()).ok() != Some(address.user) {
            return Ok(Answer::None(FOREIGN));
        }
        if !is_readable(&connection, deadline) {
            return Ok(Answer::None(SILENT));
        }
        match hear(&connection, address) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => return Ok(Answer::None(STRANGE)),
            // The other process has ended.
            Err(_) => {}
        }
    }
    Ok(Answer::None(REFUSED))
}

const SILENT: &str = "the processes that have it do not answer";
const REFUSED: &str = "the process that listens for its siblings hands over nothing";
const FOREIGN: &str = "another user has the address at which siblings find each other";
pub(super) const STRANGE: &str = "what was handed over at the address of its siblings is no store of theirs";

/// Waits until there is something to read, or the connection has ended. `false` at the deadline.
fn is_readable(connection: &OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut polled = [PollFd::new(connection, PollFlags::IN)];
        let timeout = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut polled, Some(&timeout)) {
            Err(Errno::INTR) => {}
            ready => return ready.is_ok_and(|count| count > 0),
        }
    }
}

/// Reads the answer of a connection. `None` if it is not one of this package.
///
/// # Errors
/// The connection has ended.
fn hear(connection: &OwnedFd, address: &Address) -> Result<Option<Answer>, Errno> {
    // One byte more than an answer: a longer packet is seen.
    let mut bytes = [0; ANSWER + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let heard = retry_on_intr(|| {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        recvmsg(connection, &mut parts, &mut control, flags)
    })?;
    // Each descriptor is owned from here on, and closed where it is not used.
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if heard.bytes == 0 && descriptors.is_empty() {
        return Err(Errno::CONNRESET);
    }
    let is_whole = heard.bytes == ANSWER && !heard.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    let Ok([file, listener]) = <[OwnedFd; DESCRIPTORS]>::try_from(descriptors) else {
        return Ok(None);
    };
    let word = |at: usize| {
        let word = bytes[at * 8..].first_chunk();
        word.map_or(0, |word| u64::from_ne_bytes(*word))
    };
    if !is_whole || word(0) != MAGIC || !is_listener(&listener, address) {
        return Ok(None);
    }
    Ok(Some(Answer::Given {
        file,
        listener,
        namespaces: KernelNamespaces {
            pid: word(1),
            time: word(2),
        },
    }))
}

/// Whether a descriptor is a listening socket of the address.
fn is_listener(listener: &OwnedFd, address: &Address) -> bool {
    let bound = || SocketAddrUnix::try_from(getsockname(listener)?);
    sockopt::socket_type(listener) == Ok(SocketType::SEQPACKET)
        && sockopt::socket_acceptconn(listener) == Ok(true)
        && bound().is_ok_and(|bound| bound == address.socket)
}

/// What this process hands over at one address.
#[derive(Debug)]
struct Handed {
    address: Address,
    file: Arc<OwnedFd>,
    listener: OwnedFd,
    namespaces: KernelNamespaces,
}

impl Handed {
    /// Accepts one connection and answers.
    ///
    /// # Errors
    /// No connection was accepted.
    fn serve(&self) -> Result<(), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let connection = accept_with(&self.listener, flags)?;
        if peer_user(connection.as_fd()).ok() != Some(self.address.user) {
            return Ok(());
        }
        let mut bytes = [0; ANSWER];
        let words = [MAGIC, self.namespaces.pid, self.namespaces.time];
        for (place, word) in bytes.chunks_exact_mut(size_of::<u64>()).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        let descriptors = [self.file.as_fd(), self.listener.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            // Where the packet cannot be sent, the connection ends, and the other process asks again.
            sendmsg(&connection, &[IoSlice::new(&bytes)], &mut control, flags).ok();
        }
        Ok(())
    }
}

/// This process hands over a file to siblings until this is dropped.
#[derive(Debug)]
pub(super) struct Handing {
    /// Names what is handed over, here and in the events of the thread.
    token: u64,
}

impl Handing {
    /// Begins to hand over `file` at an address. `listener` is a listening socket of the address.
    ///
    /// # Errors
    /// This process lacks descriptors or memory for the thread at this moment.
    pub(super) fn begin(
        address: Address,
        file: Arc<OwnedFd>,
        listener: OwnedFd,
        namespaces: KernelNamespaces,
    ) -> io::Result<Self> {
        let handed = Arc::new(Handed {
            address,
            file,
            listener,
            namespaces,
        });
        let token = SERVED.lock().add(handed)?;
        Ok(Self { token })
    }
}

impl Drop for Handing {
    fn drop(&mut self) {
        SERVED.lock().remove(self.token);
    }
}

/// All that this process hands over, and what its thread waits for.
struct Served {
    all: BTreeMap<u64, Arc<Handed>>,
    last_token: u64,
    poller: Option<Arc<Poller>>,
}

static SERVED: Mutex<Served> = Mutex::new(Served {
    all: BTreeMap::new(),
    last_token: ENDED,
    poller: None,
});

impl Served {
    fn add(&mut self, handed: Arc<Handed>) -> io::Result<u64> {
        let poller = match &self.poller {
            Some(poller) => Some(poller.clone()),
            None => match self.start() {
                Ok(poller) => Some(poller),
                Err(why) if is_temporary(&why) => return Err(why),
                // Without a thread this process serves nothing.
                Err(_) => None,
            },
        };
        self.last_token += 1;
        let token = self.last_token;
        if let Some(poller) = &poller {
            poller.watch(token, &handed);
        }
        self.poller = poller;
        self.all.insert(token, handed);
        Ok(token)
    }

    /// Starts the thread.
    fn start(&self) -> io::Result<Arc<Poller>> {
        let poller = Arc::new(Poller {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            ended: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let token = epoll::EventData::new_u64(ENDED);
        epoll::add(&poller.epoll, &poller.ended, token, epoll::EventFlags::IN)?;
        // What was begun while there could be no thread.
        for (token, handed) in &self.all {
            poller.watch(*token, handed);
        }
        let thread = poller.clone();
        thread::Builder::new()
            .name(THREAD.to_owned())
            .stack_size(STACK)
            .spawn(move || thread.run())?;
        Ok(poller)
    }

    fn remove(&mut self, token: u64) {
        let handed = self.all.remove(&token);
        if let (Some(poller), Some(handed)) = (&self.poller, handed) {
            // Other processes have the socket, too, so closing it does not end the watch.
            epoll::delete(&poller.epoll, &handed.listener).ok();
        }
        if self.all.is_empty()
            && let Some(poller) = self.poller.take()
        {
            write(&poller.ended, &1u64.to_ne_bytes()).ok();
        }
    }

    /// A second pair of descriptors of what this process hands over at an address.
    fn copy(&self, address: &Address) -> io::Result<Option<Answer>> {
        let Some(handed) = self.all.values().find(|handed| handed.address == *address) else {
            return Ok(None);
        };
        Ok(Some(Answer::Given {
            file: handed.file.try_clone()?,
            listener: handed.listener.try_clone()?,
            namespaces: handed.namespaces,
        }))
    }
}

/// What the thread waits for.
#[derive(Debug)]
struct Poller {
    epoll: OwnedFd,
    /// Becomes readable when the thread shall end.
    ended: OwnedFd,
}

impl Poller {
    fn watch(&self, token: u64, handed: &Handed) {
        let token = epoll::EventData::new_u64(token);
        // Where the system refuses, other siblings serve.
        epoll::add(&self.epoll, &handed.listener, token, epoll::EventFlags::IN).ok();
    }

    /// The thread.
    fn run(&self) {
        let mut room = [const { MaybeUninit::uninit() }; 16];
        loop {
            let events = match epoll::wait(&self.epoll, &mut room, None) {
                Ok((events, _)) => events,
                Err(Errno::INTR) => continue,
                Err(_) => return,
            };
            for event in events {
                let token = event.data.u64();
                if token == ENDED {
                    return;
                }
                // It is served without the lock: nothing that a sibling does keeps this process waiting for the lock.
                let Some(handed) = SERVED.lock().all.get(&token).cloned() else {
                    continue;
                };
                match handed.serve() {
                    // Another sibling was first, or the one who connected has gone.
                    Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
                    Err(why) if is_temporary(&why.into()) => {
                        thread::sleep(PAUSE);
                        break;
                    }
                    // The socket is of no use any more. It would be ready for ever.
                    Err(_) => drop(epoll::delete(&self.epoll, &handed.listener)),
                }
            }
        }
    }
}
