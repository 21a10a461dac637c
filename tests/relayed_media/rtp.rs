//! A sender and a receiver of RTP, without any library.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::UdpSocket,
    task::JoinHandle,
    time::{interval, timeout},
};

const PATIENCE: Duration = Duration::from_secs(30);
const EACH: Duration = Duration::from_millis(10);
const HEADER: usize = 12;
const VERSION: u8 = 0x80;
const PAYLOAD_TYPE: u8 = 111;
/// The first bytes of a VP8 frame: the start of partition 0, and whether it needs another frame.
const KEY_FRAME: [u8; 2] = [0x10, 0x00];
const INTER_FRAME: [u8; 2] = [0x10, 0x01];
/// Of streams above the first, so few are key frames: they come later to who waits for one.
const RARE: u32 = 10;

/// Sends so many streams until it is dropped.
pub struct Sender(JoinHandle<()>);

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Sender {
    pub async fn start(port: u16, ssrcs: Vec<u32>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        Self(tokio::spawn(async move {
            let mut beat = interval(EACH);
            for number in 0_u32.. {
                beat.tick().await;
                for (layer, ssrc) in (0_u8..).zip(&ssrcs) {
                    let sequence = u16::try_from(number & 0xffff).expect("it fits");
                    let mut packet = vec![VERSION, PAYLOAD_TYPE | 0x80];
                    packet.extend(sequence.to_be_bytes());
                    packet.extend((number.wrapping_mul(900)).to_be_bytes());
                    packet.extend(ssrc.to_be_bytes());
                    let key = layer == 0 || number % RARE == 0;
                    packet.extend(if key { KEY_FRAME } else { INTER_FRAME });
                    packet.push(layer);
                    packet.extend(number.to_be_bytes());
                    // A worker that is going takes nothing.
                    let _ = socket.send_to(&packet, to).await;
                }
            }
        }))
    }
}

/// One packet as a consumer's client gets it.
#[derive(Debug)]
pub struct Packet {
    pub payload_type: u8,
    pub sequence: u16,
    pub ssrc: u32,
    pub layer: u8,
    /// Its place among the packets of the sender.
    pub number: u32,
}

pub struct Receiver(UdpSocket);

impl Receiver {
    pub async fn bind() -> Self {
        Self(UdpSocket::bind("127.0.0.1:0").await.expect("a socket"))
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("it is bound").port()
    }

    /// Forgets all that arrived.
    pub fn drain(&self) {
        let mut buffer = [0; 2048];
        while self.0.try_recv(&mut buffer).is_ok() {}
    }

    pub async fn next(&self) -> Packet {
        let mut buffer = [0; 2048];
        loop {
            let length = timeout(PATIENCE, self.0.recv(&mut buffer)).await.expect("RTP arrives");
            let packet = &buffer[..length.expect("a socket")];
            let is_rtcp = (192..=223).contains(&packet[1]);
            let extension = packet[0] & 0x10 != 0;
            let at = if extension {
                let words = u16::from_be_bytes([packet[HEADER + 2], packet[HEADER + 3]]);
                HEADER + 4 + 4 * usize::from(words)
            } else {
                HEADER
            };
            if is_rtcp || packet.len() != at + KEY_FRAME.len() + 5 {
                continue;
            }
            let payload = &packet[at..];
            let frame = [payload[0], payload[1]];
            assert!([KEY_FRAME, INTER_FRAME].contains(&frame), "the payload is the sender's");
            let four = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
            return Packet {
                payload_type: packet[1] & 0x7f,
                sequence: u16::from_be_bytes([packet[2], packet[3]]),
                ssrc: four(&packet[8..12]),
                layer: payload[2],
                number: four(&payload[3..7]),
            };
        }
    }
}
