//! WebSocket's framing, RFC 6455, and the messages that the frames are pieces of; compressed ones as RFC 7692 has them.
//!
//! Pure, and safe with any bytes: whatever a server sends is a message or a [`Breach`]. Keeps no more than has come, as a
//! hundred thousand users may each have a connection. Start at [`Frames::take`] and [`Frames::encode`].

use bytes::{Buf, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The most bytes of a ping, a pong or a close.
const MAX_CONTROL: u64 = 125;
/// What ends a compressed message, and is not sent.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Room for what comes out of a compressed message at a time.
const PIECE: usize = 4096;
const FIN: u8 = 0x80;
/// Of the first frame of a compressed message.
const COMPRESSED: u8 = 0x40;
const MASKED: u8 = 0x80;
/// In place of the length: it follows in two bytes.
const MIDDLE: u8 = 0x7e;
/// It follows in eight.
const LONG: u8 = 0x7f;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// One more piece of the message under way.
    Continuation,
    /// A message, or its first piece.
    Text,
    /// A message, or its first piece.
    Binary,
    /// The last that its side sends.
    Close,
    /// To be answered by a pong with the same bytes.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Opcode {
    /// That of this number. `None`: none has it.
    pub const fn of(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// As it stands in a frame.
    pub const fn number(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What has come whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// In UTF-8.
    Text(String),
    /// Any bytes.
    Binary(Bytes),
    /// With its bytes.
    Ping(Bytes),
    /// With its bytes.
    Pong(Bytes),
    /// With its code, 0 where it has none, and its reason.
    Close(u16, String),
}

/// What a server sent against the rules, with the code that a close says it by.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Breach {
    /// Of RFC 6455, 7.4.1.
    pub code: u16,
    /// What is wrong.
    pub text: String,
}

fn breach<T>(text: impl Into<String>) -> Result<T, Breach> {
    Err(Breach { code: 1002, text: text.into() })
}

/// The two directions of one connection.
pub struct Frames {
    input: BytesMut,
    /// A message of which not all frames have come.
    partial: Option<Partial>,
    /// The most bytes of a message; 0: any number.
    max: usize,
    deflate: Option<Box<Deflate>>,
}

struct Partial {
    opcode: Opcode,
    compressed: bool,
    payload: BytesMut,
}

struct Deflate {
    outgoing: Compress,
    incoming: Decompress,
    /// Each message is compressed by itself.
    forgets: bool,
    forgetful_server: bool,
}

struct Header {
    fin: bool,
    compressed: bool,
    opcode: Opcode,
    length: usize,
    /// Of the header itself.
    size: usize,
}

impl Frames {
    /// `deflate`: compressed messages were agreed on, and whether client and server compress each by itself.
    pub fn new(max: usize, deflate: Option<(bool, bool)>) -> Self {
        let deflate = deflate.map(|(forgets, forgetful_server)| {
            Box::new(Deflate {
                outgoing: Compress::new(Compression::default(), false),
                incoming: Decompress::new(false),
                forgets,
                forgetful_server,
            })
        });
        Self { input: BytesMut::new(), partial: None, max, deflate }
    }

    /// Takes what has come next.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next message, if it is there whole.
    pub fn take(&mut self) -> Result<Option<Message>, Breach> {
        while let Some(header) = self.header()? {
            if self.input.len() - header.size < header.length {
                return Ok(None);
            }
            self.input.advance(header.size);
            let payload = self.input.split_to(header.length);
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
            if header.opcode.is_control() {
                return control(header.opcode, payload.freeze()).map(Some);
            }
            if let Some(whole) = self.join(&header, payload) {
                return self.message(whole).map(Some);
            }
        }
        Ok(None)
    }

    /// The header of the next frame, if it is there whole; what is wrong with it shows before its payload has come.
    fn header(&self) -> Result<Option<Header>, Breach> {
        let &[first, second, ref rest @ ..] = &self.input[..] else { return Ok(None) };
        let Some(opcode) = Opcode::of(first & 0x0f) else {
            return breach(format!("Unexpected opcode={}", first & 0x0f));
        };
        let (fin, compressed) = (first & FIN != 0, first & COMPRESSED != 0);
        let starts = matches!(opcode, Opcode::Text | Opcode::Binary);
        if first & 0x30 != 0 || compressed && (self.deflate.is_none() || !starts) {
            return breach("Received frame with non-zero reserved bits");
        }
        if second & MASKED != 0 {
            return breach("Received a masked frame from the server");
        }
        let (length, size) = match second {
            MIDDLE => match rest.first_chunk() {
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
                None => return Ok(None),
            },
            LONG => match rest.first_chunk() {
                Some(length) => (u64::from_be_bytes(*length), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if opcode.is_control() && (!fin || MAX_CONTROL < length) {
            return breach("Control frame payload cannot be larger than 125 bytes, or in pieces");
        }
        match (&self.partial, opcode) {
            (None, Opcode::Continuation) => return breach("Continuation frame for non started message"),
            (Some(_), Opcode::Text | Opcode::Binary) => {
                return breach("The opcode in non-fin frame is expected to be zero");
            }
            _ => {}
        }
        let known = self.partial.as_ref().map_or(0, |partial| partial.payload.len()) as u64;
        self.fits(if opcode.is_control() { 0 } else { known.saturating_add(length) })?;
        Ok(Some(Header { fin, compressed, opcode, length: length as usize, size }))
    }

    fn fits(&self, size: u64) -> Result<(), Breach> {
        if self.max != 0 && self.max as u64 <= size {
            return Err(Breach {
                code: 1009,
                text: format!("Message size {size} exceeds limit {}", self.max),
            });
        }
        Ok(())
    }

    /// Puts a frame behind those of its message; the message, if this was the last.
    fn join(&mut self, header: &Header, payload: BytesMut) -> Option<Partial> {
        if let Some(partial) = &mut self.partial {
            partial.payload.unsplit(payload);
        } else {
            let (opcode, compressed) = (header.opcode, header.compressed);
            self.partial = Some(Partial { opcode, compressed, payload });
        }
        if header.fin { self.partial.take() } else { None }
    }

    fn message(&mut self, whole: Partial) -> Result<Message, Breach> {
        let payload = if whole.compressed { self.inflate(&whole.payload)? } else { whole.payload.freeze() };
        if whole.opcode == Opcode::Binary {
            return Ok(Message::Binary(payload));
        }
        match String::from_utf8(payload.into()) {
            Ok(text) => Ok(Message::Text(text)),
            Err(_) => Err(Breach { code: 1007, text: "Invalid UTF-8 text message".into() }),
        }
    }

    fn inflate(&mut self, payload: &[u8]) -> Result<Bytes, Breach> {
        let Some(deflate) = &mut self.deflate else {
            return breach("A compressed message was not agreed on");
        };
        let (mut out, mut ended) = (Vec::new(), false);
        for mut input in [payload, &TAIL[..]] {
            loop {
                out.reserve(PIECE);
                let before = (deflate.incoming.total_in(), out.len());
                let Ok(status) = deflate.incoming.decompress_vec(input, &mut out, FlushDecompress::Sync)
                else {
                    return Err(Breach { code: 1007, text: "Invalid compressed message".into() });
                };
                input = &input[(deflate.incoming.total_in() - before.0) as usize..];
                if self.max != 0 && self.max <= out.len() {
                    let text = format!("Decompressed message size exceeds limit {}", self.max);
                    return Err(Breach { code: 1009, text });
                }
                let stuck = (deflate.incoming.total_in(), out.len()) == before;
                ended |= status == Status::StreamEnd;
                if ended || stuck || (input.is_empty() && out.len() < out.capacity()) {
                    break;
                }
            }
        }
        if deflate.forgetful_server || ended {
            deflate.incoming.reset(false);
        }
        Ok(out.into())
    }

    /// A frame as it goes on the wire: a whole message, masked by `mask`. Messages are compressed where that was agreed on.
    pub fn encode(&mut self, opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let deflate = self.deflate.as_mut().filter(|_| !opcode.is_control());
        let compressed = deflate.map(|deflate| deflate.compress(payload));
        let mut first = FIN | opcode.number();
        if compressed.is_some() {
            first |= COMPRESSED;
        }
        let payload = compressed.as_deref().unwrap_or(payload);
        let mut frame = Vec::with_capacity(payload.len() + 14);
        frame.push(first);
        match payload.len() {
            short @ ..126 => frame.push(MASKED | short as u8),
            middle @ ..0x1_0000 => {
                frame.push(MASKED | MIDDLE);
                frame.extend_from_slice(&(middle as u16).to_be_bytes());
            }
            long => {
                frame.push(MASKED | LONG);
                frame.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        let start = frame.len();
        frame.extend_from_slice(payload);
        for four in frame[start..].chunks_mut(mask.len()) {
            four.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        }
        frame
    }
}

impl Deflate {
    fn compress(&mut self, mut payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            out.reserve(payload.len() / 2 + 64);
            let before = self.outgoing.total_in();
            // Fails for a stream that was finished alone, which this never is.
            let _ = self.outgoing.compress_vec(payload, &mut out, FlushCompress::Sync);
            payload = &payload[(self.outgoing.total_in() - before) as usize..];
            // Room is left: all that was to come out has.
            if payload.is_empty() && out.len() < out.capacity() {
                break;
            }
        }
        if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
        if self.forgets {
            self.outgoing.reset();
        }
        out
    }
}

fn control(opcode: Opcode, payload: Bytes) -> Result<Message, Breach> {
    Ok(match opcode {
        Opcode::Ping => Message::Ping(payload),
        Opcode::Pong => Message::Pong(payload),
        _ => match &payload[..] {
            [] => Message::Close(0, String::new()),
            &[a, b, ref reason @ ..] => {
                let code = u16::from_be_bytes([a, b]);
                if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..5000) {
                    return breach(format!("Invalid close code: {code}"));
                }
                match std::str::from_utf8(reason) {
                    Ok(reason) => Message::Close(code, reason.to_owned()),
                    Err(_) => return Err(Breach { code: 1007, text: "Invalid UTF-8 text message".into() }),
                }
            }
            _ => return breach("Invalid close frame: one byte"),
        },
    })
}

#[cfg(test)]
mod tests;
