//! What the stub and the core say to each other over their private socket. Plain `std`, because the
//! stub carries nothing else.

/// Longest message; arguments and PEM paths are far shorter.
pub const MESSAGE_MAX: usize = 1024 * 1024;
/// Bytes before a message's fields: kind and length of what follows.
pub const HEADER: usize = 5;

/// Where the stub finds its core: the name of an abstract socket, or a path where there are none.
pub const SOCKET_ENV: &str = "MEDIASOUP_HORIZONTAL_SOCKET";
/// What proves that the core itself started this stub. Good for one use.
pub const TICKET_ENV: &str = "MEDIASOUP_HORIZONTAL_TICKET";
/// Set in the environment of real workers, so that a stub started as one can tell.
pub const INSIDE_ENV: &str = "MEDIASOUP_HORIZONTAL_WORKER";
/// Every variable of ours; none of them reaches a real worker but the one above.
pub const ENV_PREFIX: &str = "MEDIASOUP_HORIZONTAL_";

/// Kinds of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Stub to core, with fds 3 and 4: ticket, mediasoup version, worker arguments.
    Hello = 1,
    /// Core to stub, with two fds: binary, its arguments. The stub becomes that worker.
    Become = 2,
    /// Core to stub: process ids of local workers that must not outlive the app.
    Watch = 3,
    /// Core to stub: the worker wrote this to its stdout.
    Stdout = 4,
    /// Core to stub: the worker wrote this to its stderr.
    Stderr = 5,
    /// Core to stub: exit with this code.
    ExitCode = 6,
    /// Core to stub: end by this signal.
    ExitSignal = 7,
    /// Stub to core: this signal arrived.
    Signal = 8,
}

impl Kind {
    pub fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Hello,
            Self::Become,
            Self::Watch,
            Self::Stdout,
            Self::Stderr,
            Self::ExitCode,
            Self::ExitSignal,
            Self::Signal,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// One message: its kind and its fields.
pub fn encode(kind: Kind, fields: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for field in fields {
        body.extend_from_slice(&length(field.len()));
        body.extend_from_slice(field);
    }
    let mut message = vec![kind as u8];
    message.extend_from_slice(&length(body.len()));
    message.extend_from_slice(&body);
    message
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

/// Kind and body length that a header tells. `None`: not this protocol.
pub fn header(bytes: &[u8]) -> Option<(Kind, usize)> {
    let (kind, length) = bytes.get(..HEADER)?.split_first()?;
    let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
    (length <= MESSAGE_MAX).then_some((Kind::from_byte(*kind)?, length))
}

/// The fields of a body. `None`: not this protocol.
pub fn fields(mut body: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !body.is_empty() {
        let length = body.get(..4)?.try_into().ok()?;
        let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
        let end = length.checked_add(4)?;
        fields.push(body.get(4..end)?);
        body = &body[end..];
    }
    Some(fields)
}

/// A number as a field.
pub fn number(field: &[u8]) -> Option<i32> {
    Some(i32::from_le_bytes(field.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back() {
        let message = encode(Kind::Become, &[b"/bin/worker", b"", b"--logLevel=debug"]);
        let (kind, length) = header(&message).expect("a header");
        assert_eq!((kind, length), (Kind::Become, message.len() - HEADER));
        assert_eq!(
            fields(&message[HEADER..]),
            Some(vec![&b"/bin/worker"[..], b"", b"--logLevel=debug"])
        );
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(header(&[0, 0, 0, 0, 0]), None);
        assert_eq!(header(&[1, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(header(&[1, 0]), None);
        assert_eq!(fields(&[9, 0, 0, 0, 1]), None);
        assert_eq!(fields(&[1]), None);
    }
}
