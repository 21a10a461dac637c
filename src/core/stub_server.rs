//! Serves stubs: takes the channel that a stub hands over, finds a worker, and runs it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, UnixAddr, recvmsg, sendmsg,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
    sync::{mpsc, watch},
    time::timeout,
};

use super::{
    Inner, Ticket,
    choice::{Found, NoWorker, Place, Role},
    part_source::{self, Parts},
    relay::{self, ControlEvent, Ends, LibraryEnd, Opened, PartSource, Stdio},
    settings,
};
use crate::{
    connection::{Exit, InPlaceWorker},
    passed_fds, queue,
    quiet_writer::QuietWriter,
    stub::protocol::{self, Kind},
    virtual_worker::{Spread, VirtualWorker},
};

/// A stub says hello at once, or it is none.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// The fds of a channel: the worker's 3 and 4.
const HELLO_FDS: usize = 2;

/// Why a peer on the stubs' socket is not served.
#[derive(Debug, thiserror::Error)]
enum HelloError {
    #[error("no hello within {} s", HELLO_TIMEOUT.as_secs())]
    Timeout,
    #[error("reading the hello failed: {0}")]
    Io(#[from] io::Error),
    #[error("the hello is malformed")]
    Malformed,
    #[error("the peer belongs to another user")]
    User,
    #[error("the ticket is unknown or was used before")]
    Ticket,
}

struct Hello {
    pid: u32,
    ticket: String,
    data: Ticket,
    version: String,
    args: Vec<String>,
    library: LibraryEnd,
    stream: UnixStream,
}

/// Serves one peer from hello to the end of its worker.
pub async fn serve(core: Arc<Inner>, stream: UnixStream) {
    match timeout(HELLO_TIMEOUT, read_hello(&core, stream)).await {
        Ok(Ok(hello)) => serve_hello(&core, hello).await,
        Ok(Err(error)) => tracing::warn!("refused a peer on the stubs' socket: {error}"),
        Err(_) => tracing::warn!("refused a peer on the stubs' socket: {}", HelloError::Timeout),
    }
}

async fn read_hello(core: &Inner, stream: UnixStream) -> Result<Hello, HelloError> {
    let peer = stream.peer_cred()?;
    if peer.uid() != nix::unistd::geteuid().as_raw() {
        return Err(HelloError::User);
    }
    let mut fds = Vec::new();
    let mut bytes = BytesMut::new();
    let (kind, length) = loop {
        receive(&stream, &mut bytes, &mut fds).await?;
        if bytes.len() >= protocol::HEADER {
            break protocol::header(&bytes).ok_or(HelloError::Malformed)?;
        }
    };
    while bytes.len() < protocol::HEADER + length {
        receive(&stream, &mut bytes, &mut fds).await?;
    }
    let fields = protocol::fields(&bytes[protocol::HEADER..]).ok_or(HelloError::Malformed)?;
    let mut texts = fields.iter().map(|field| String::from_utf8_lossy(field).into_owned());
    let (Kind::Hello, Some(ticket), Some(version)) = (kind, texts.next(), texts.next()) else {
        return Err(HelloError::Malformed);
    };
    let data = core.take_ticket(&ticket).ok_or(HelloError::Ticket)?;
    let mut fds = fds.into_iter();
    let (Some(input), Some(output), None) = (fds.next(), fds.next(), fds.next()) else {
        return Err(HelloError::Malformed);
    };
    Ok(Hello {
        pid: peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0),
        ticket,
        data,
        version,
        args: texts.collect(),
        library: library_end(input, output)?,
        stream,
    })
}

/// The library's sockets as async ones.
pub fn library_end(input: OwnedFd, output: OwnedFd) -> io::Result<LibraryEnd> {
    let input = std::os::unix::net::UnixStream::from(input);
    input.set_nonblocking(true)?;
    Ok(LibraryEnd { input: UnixStream::from_std(input)?, output: QuietWriter::new(output.into())? })
}

/// Reads bytes and whatever fds come with them.
async fn receive(
    stream: &UnixStream,
    bytes: &mut BytesMut,
    fds: &mut Vec<OwnedFd>,
) -> io::Result<()> {
    let mut chunk = vec![0; 16 * 1024];
    let count = stream
        .async_io(Interest::READABLE, || {
            let mut space = nix::cmsg_space!([std::os::fd::RawFd; 4]);
            let mut parts = [IoSliceMut::new(&mut chunk)];
            let flags = MsgFlags::from_bits_retain(passed_fds::RECEIVE);
            let message: RecvMsg<'_, '_, UnixAddr> =
                recvmsg(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(received) = control {
                    // SAFETY: the kernel made these for us just now; nobody else owns them.
                    let received =
                        received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
                    fds.extend(received.map(passed_fds::keep_from_others));
                }
            }
            Ok(message.bytes)
        })
        .await?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bytes.extend_from_slice(&chunk[..count]);
    if fds.len() > HELLO_FDS {
        // A flood of them would use up the app's own.
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more fds than a channel has"));
    }
    Ok(())
}

async fn serve_hello(core: &Arc<Inner>, hello: Hello) {
    let Hello { pid, ticket, data, version, args, library, mut stream } = hello;
    let request = match settings::spawn_request(version, args, data.worker_bin.map(PathBuf::from)) {
        Ok(request) => request,
        Err(why) => {
            drop(library);
            let why = NoWorker::WrongSettings(why.to_string());
            core.fail_ticket(&ticket, &why);
            return send_end(&mut stream, &why.exit(), &[why.to_string()]).await;
        }
    };
    // Only connections that are told to let it become the worker, which then has one part only.
    let role = Role::Home { in_place: true };
    let found = tokio::select! {
        // Cancel-safe: a worker that is found after all is freed with its link.
        found = core.find_home(&request, role, pid) => found,
        // Cancel-safe: nothing is read, the stub says nothing before it is served.
        () = gone(&stream) => return,
    };
    match found {
        Err(why) => {
            drop(library);
            core.fail_ticket(&ticket, &why);
            send_end(&mut stream, &why.exit(), &[why.to_string()]).await;
        }
        Ok((Found::InPlace(worker), place)) => {
            run_in_place(core, pid, library, worker, place, stream).await;
        }
        Ok((Found::Linked(link), place)) => {
            let home = part_source::opened(link, place);
            let source = Parts::of(core, request, pid);
            run_linked(core, pid, library, home, source, stream).await;
        }
    }
}

/// Resolves when the peer is gone, without reading what it may have said before.
pub async fn gone(stream: &UnixStream) {
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        let mut byte = [0];
        match nix::sys::socket::recv(
            stream.as_raw_fd(),
            &mut byte,
            MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(0) => return,
            // It said something early; that is read once the worker runs.
            Ok(_) => std::future::pending().await,
            Err(nix::errno::Errno::EAGAIN) => {
                // The readiness was stale: clear it, or this loop would spin.
                let _ = stream
                    .try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
            }
            Err(_) => return,
        }
    }
}

/// The stub becomes the worker: the core relays, and mediasoup sees the worker's own end.
async fn run_in_place(
    core: &Arc<Inner>,
    pid: u32,
    library: LibraryEnd,
    worker: InPlaceWorker,
    place: Place,
    mut stream: UnixStream,
) {
    let InPlaceWorker { binary, args, input, output, guard, link } = worker;
    let mut fields = vec![binary.as_os_str().as_encoded_bytes().to_vec()];
    fields.extend(args.into_iter().map(String::into_bytes));
    let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
    let message = protocol::encode(Kind::Become, &fields);
    if let Err(error) = send_with_fds(&mut stream, &message, [&input, &output]).await {
        tracing::warn!("cannot hand a worker's channel to its stub: {error}");
        return;
    }
    drop((input, output, stream));
    let _registered = core.register(pid, &place.connection.name());
    let (_attended, watch) = core.attend(pid, &place.connection.name());
    let _measured = place.connection.runs_in_place(pid);
    let home = part_source::opened(link, place);
    // The stub is the worker now and could not outlive it, as a Worker of several parts may.
    let mut machine = VirtualWorker::new(pid, home.host.clone(), core.book(), Spread::ONE_PART)
        .with_call_timeout(core.call_timeout);
    machine.watch_objects();
    // The worker holds the app's stdout and stderr itself; only remarks of ours are left to log.
    let (_keep, control) = mpsc::channel(1);
    let (stdio, _) = queue::bounded(relay::STDIO_LIMIT);
    let ends =
        Ends { library, machine, home, source: None, control, stdio, local_pids: None, watch };
    relay::run(ends).await;
    drop(guard);
}

async fn send_with_fds(
    stream: &mut UnixStream,
    message: &[u8],
    fds: [&OwnedFd; 2],
) -> io::Result<()> {
    let raw = fds.map(AsRawFd::as_raw_fd);
    let socket = stream.as_raw_fd();
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let control = [ControlMessage::ScmRights(&raw)];
            let parts = [IoSlice::new(message)];
            let flags = MsgFlags::from_bits_retain(passed_fds::SEND);
            Ok(sendmsg::<UnixAddr>(socket, &parts, &control, flags, None)?)
        })
        .await?;
    stream.write_all(&message[sent..]).await
}

/// The stub waits while the worker runs elsewhere, and ends as it ends.
async fn run_linked(
    core: &Arc<Inner>,
    pid: u32,
    library: LibraryEnd,
    home: Opened,
    source: Option<Arc<dyn PartSource>>,
    stream: UnixStream,
) {
    let (reader, mut writer) = stream.into_split();
    let pids: Vec<u32> = home.local.then_some(home.link.pid).into_iter().collect();
    if !pids.is_empty() {
        let _ = writer.write_all(&watch_message(&pids)).await;
    }
    let _registered = core.register(pid, &home.host.key);
    let (attended, watch) = core.attend(pid, &home.host.key);
    let mut machine = VirtualWorker::new(pid, home.host.clone(), core.book(), core.spread)
        .with_call_timeout(core.call_timeout);
    machine.watch_objects();
    let (events, control) = mpsc::channel(16);
    let listening = tokio::spawn(read_control(reader, events));
    let (stdio, texts) = queue::bounded(relay::STDIO_LIMIT);
    let (local_pids, watched) = watch::channel(pids);
    let writing = tokio::spawn(write_to_stub(writer, texts, watched));
    let local_pids = Some(local_pids);
    let ends = Ends { library, machine, home, source, control, stdio, local_pids, watch };
    let exit = relay::run(ends).await;
    drop(attended);
    // The relay's end closed the channel and the queue of texts: the stub may say how it ended.
    if let Ok(mut writer) = writing.await {
        let why = match &exit {
            Exit::Lost(why) => core.died(pid, why),
            Exit::Code(_) | Exit::Signal(_) => Vec::new(),
        };
        send_end(&mut writer, &exit, &why).await;
    }
    listening.abort();
}

/// The processes of this host that must not outlive the app.
fn watch_message(pids: &[u32]) -> Vec<u8> {
    let pids: Vec<[u8; 4]> = pids.iter().map(|pid| pid.to_le_bytes()).collect();
    let fields: Vec<&[u8]> = pids.iter().map(<[u8; 4]>::as_slice).collect();
    protocol::encode(Kind::Watch, &fields)
}

async fn read_control(mut reader: OwnedReadHalf, events: mpsc::Sender<ControlEvent>) {
    let mut header = [0; protocol::HEADER];
    loop {
        let event = match reader.read_exact(&mut header).await {
            Ok(_) => match protocol::header(&header) {
                Some((Kind::Signal, length)) if length <= 64 => {
                    let mut body = vec![0; length];
                    match reader.read_exact(&mut body).await {
                        Ok(_) => protocol::fields(&body)
                            .and_then(|fields| protocol::number(fields.first()?))
                            .map_or(ControlEvent::Gone, ControlEvent::Signal),
                        Err(_) => ControlEvent::Gone,
                    }
                }
                _ => ControlEvent::Gone,
            },
            Err(_) => ControlEvent::Gone,
        };
        if events.send(event).await.is_err() || event == ControlEvent::Gone {
            return;
        }
    }
}

async fn write_to_stub(
    mut writer: OwnedWriteHalf,
    mut texts: queue::Receiver<Stdio>,
    mut watched: watch::Receiver<Vec<u32>>,
) -> OwnedWriteHalf {
    loop {
        let message = tokio::select! {
            // Cancel-safe: a text that is not taken stays in the queue.
            text = texts.recv() => match text {
                Some(Stdio::Stdout(bytes)) => protocol::encode(Kind::Stdout, &[&bytes]),
                Some(Stdio::Stderr(bytes)) => protocol::encode(Kind::Stderr, &[&bytes]),
                None => return writer,
            },
            // Cancel-safe: a change that is not seen stays one.
            Ok(()) = watched.changed() => watch_message(&watched.borrow_and_update()),
        };
        let _ = writer.write_all(&message).await;
    }
}

async fn send_end(writer: &mut (impl tokio::io::AsyncWrite + Unpin), exit: &Exit, why: &[String]) {
    let mut message = Vec::new();
    for why in why {
        let line = format!("mediasoup-horizontal: {why}\n");
        message.extend(protocol::encode(Kind::Stderr, &[line.as_bytes()]));
    }
    message.extend(match exit {
        Exit::Code(code) => protocol::encode(Kind::ExitCode, &[&code.to_le_bytes()]),
        Exit::Signal(signal) => protocol::encode(Kind::ExitSignal, &[&signal.to_le_bytes()]),
        Exit::Lost(_) => protocol::encode(Kind::ExitCode, &[&Exit::FAILURE.to_le_bytes()]),
    });
    if let Err(error) = writer.write_all(&message).await {
        tracing::debug!("a stub was gone before it could be ended: {error}");
    }
}
