//! Content codings of replies: gzip, deflate, br and zstd, decoded piece by piece as they come.
//!
//! Pure, and safe with any bytes: what they say is decoded, or refused, and a few bytes that stand for many are stopped at
//! a bound. Never touches the interpreter. Start at [`Decoder::feed`].

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use bytes::BytesMut;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

/// Bytes that are decoded at a time, and room for what comes out.
const PIECE: usize = 16 * 1024;

/// How a body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or RFC 1951 as many servers send it under that name.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// The coding that a `Content-Encoding` names. `None`: none, more than one, or one that is left to the scenario.
    pub fn named(value: &[u8]) -> Option<Self> {
        match value.trim_ascii().to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            b"br" => Some(Self::Brotli),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// Its bytes are something else.
    #[error("the body is not in {0}, as its Content-Encoding says")]
    Malformed(&'static str),
    /// It ends before its end.
    #[error("the body in {0} is cut short")]
    Cut(&'static str),
    /// More came out than is kept at once.
    #[error("the body decodes to more than {} MiB; read it in pieces, by `content.iter_chunked`", .0 / (1024 * 1024))]
    TooLong(usize),
}

/// Decodes one body.
pub struct Decoder {
    coding: Coding,
    most: usize,
    state: State,
}

enum State {
    /// Nothing has come: which kind of deflate it is shows in its first byte.
    Fresh,
    Gzip(Box<MultiGzDecoder<Sink>>),
    Zlib(Box<ZlibDecoder<Sink>>),
    Raw(Box<DeflateDecoder<Sink>>),
    Brotli(Box<DecompressorWriter<Sink>>),
    Zstd(Box<ZstdDecoder<'static>>, Sink, Frame),
    Broken,
}

/// Where a zstd stream is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    Within,
    Ended,
}

/// Keeps what was decoded until it is taken, up to a bound.
struct Sink {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.most.saturating_sub(self.bytes.len()) < bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Decoder {
    /// For a body in that coding, of which at most `most` decoded bytes are there before they are taken.
    pub fn new(coding: Coding, most: usize) -> Self {
        Self { coding, most, state: State::Fresh }
    }

    /// Decodes what has come next. Appends to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<(), CodingError> {
        let Some(first) = bytes.first() else { return Ok(()) };
        if matches!(self.state, State::Fresh) {
            self.state = self.begun(*first)?;
        }
        for piece in bytes.chunks(PIECE) {
            let fed = match &mut self.state {
                State::Gzip(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
                State::Zlib(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
                State::Raw(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
                State::Brotli(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
                State::Zstd(decoder, sink, frame) => feed_zstd(decoder, sink, frame, piece),
                State::Fresh | State::Broken => Err(io::ErrorKind::InvalidData.into()),
            };
            fed.map_err(|error| self.broken(&error))?;
        }
        self.give(out);
        Ok(())
    }

    /// The body has ended; appends what was still to come. A body of no bytes at all is one of nothing.
    pub fn finish(&mut self, out: &mut BytesMut) -> Result<(), CodingError> {
        let ended = match &mut self.state {
            State::Gzip(decoder) => decoder.try_finish(),
            State::Zlib(decoder) => decoder.try_finish(),
            State::Raw(decoder) => decoder.try_finish(),
            State::Brotli(decoder) => decoder.close(),
            State::Zstd(_, _, Frame::Ended) | State::Fresh => Ok(()),
            State::Zstd(_, _, Frame::Within) | State::Broken => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        if let Err(error) = ended {
            return Err(match self.broken(&error) {
                too_long @ CodingError::TooLong(_) => too_long,
                _ => CodingError::Cut(self.coding.name()),
            });
        }
        self.give(out);
        Ok(())
    }

    fn begun(&self, first: u8) -> Result<State, CodingError> {
        let sink = Sink { bytes: Vec::new(), most: self.most };
        Ok(match self.coding {
            Coding::Gzip => State::Gzip(Box::new(MultiGzDecoder::new(sink))),
            // The low bits of zlib's first byte say 8; no deflate stream that anybody makes begins so.
            Coding::Deflate if first & 0x0f == 8 => State::Zlib(Box::new(ZlibDecoder::new(sink))),
            Coding::Deflate => State::Raw(Box::new(DeflateDecoder::new(sink))),
            Coding::Brotli => State::Brotli(Box::new(DecompressorWriter::new(sink, PIECE))),
            Coding::Zstd => {
                let decoder = ZstdDecoder::new().map_err(|_| CodingError::Malformed(self.coding.name()))?;
                State::Zstd(Box::new(decoder), sink, Frame::Ended)
            }
        })
    }

    fn give(&mut self, out: &mut BytesMut) {
        let decoded = match &mut self.state {
            State::Gzip(decoder) => &mut decoder.get_mut().bytes,
            State::Zlib(decoder) => &mut decoder.get_mut().bytes,
            State::Raw(decoder) => &mut decoder.get_mut().bytes,
            State::Brotli(decoder) => &mut decoder.get_mut().bytes,
            State::Zstd(_, sink, _) => &mut sink.bytes,
            State::Fresh | State::Broken => return,
        };
        out.extend_from_slice(&std::mem::take(decoded));
    }

    fn broken(&mut self, error: &io::Error) -> CodingError {
        self.state = State::Broken;
        match error.kind() {
            io::ErrorKind::FileTooLarge => CodingError::TooLong(self.most),
            _ => CodingError::Malformed(self.coding.name()),
        }
    }
}

fn feed_zstd(
    decoder: &mut ZstdDecoder<'_>,
    sink: &mut Sink,
    frame: &mut Frame,
    bytes: &[u8],
) -> io::Result<()> {
    let mut input = InBuffer::around(bytes);
    let mut room = vec![0; PIECE];
    loop {
        let mut output = OutBuffer::around(room.as_mut_slice());
        let before = input.pos();
        let hint = decoder.run(&mut input, &mut output)?;
        let made = output.pos();
        if before < input.pos() || 0 < made {
            *frame = if hint == 0 { Frame::Ended } else { Frame::Within };
        }
        sink.write_all(&room[..made])?;
        if input.pos() == bytes.len() && made < PIECE {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 1024 * 1024;
    const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

    fn coded(coding: Coding, plain: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Gzip => {
                let mut coder = GzEncoder::new(Vec::new(), Compression::default());
                coder.write_all(plain).unwrap();
                coder.finish().unwrap()
            }
            Coding::Deflate => {
                let mut coder = ZlibEncoder::new(Vec::new(), Compression::default());
                coder.write_all(plain).unwrap();
                coder.finish().unwrap()
            }
            Coding::Brotli => {
                let mut coder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
                coder.write_all(plain).unwrap();
                coder.into_inner()
            }
            Coding::Zstd => zstd::stream::encode_all(plain, 3).unwrap(),
        }
    }

    fn decoded(coding: Coding, most: usize, pieces: &[&[u8]]) -> Result<Vec<u8>, CodingError> {
        let (mut decoder, mut out) = (Decoder::new(coding, most), BytesMut::new());
        for piece in pieces {
            decoder.feed(piece, &mut out)?;
        }
        decoder.finish(&mut out)?;
        Ok(out.to_vec())
    }

    #[test]
    fn each_coding_is_known_by_its_names() {
        let named = |text: &str| Coding::named(text.as_bytes());
        assert_eq!(named("gzip"), Some(Coding::Gzip));
        assert_eq!(named(" X-GZip "), Some(Coding::Gzip));
        assert_eq!(named("identity"), None);
        assert_eq!(named("gzip, br"), None);
        for coding in ALL {
            assert_eq!(named(coding.name()), Some(coding));
        }
    }

    #[test]
    fn deflate_is_taken_with_and_without_its_wrapping() {
        let mut coder = DeflateEncoder::new(Vec::new(), Compression::default());
        coder.write_all(b"raw").unwrap();
        let raw = coder.finish().unwrap();
        assert_eq!(decoded(Coding::Deflate, MOST, &[&raw]).unwrap(), b"raw");
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let body = [coded(coding, b"one "), coded(coding, b"two")].concat();
            assert_eq!(decoded(coding, MOST, &[&body]).unwrap(), b"one two");
        }
    }

    #[test]
    fn no_body_is_a_body_of_nothing() {
        for coding in ALL {
            assert_eq!(decoded(coding, MOST, &[]).unwrap(), b"");
            assert_eq!(decoded(coding, MOST, &[&coded(coding, b"")]).unwrap(), b"");
        }
    }

    #[test]
    fn what_is_cut_short_is_said_to_be() {
        for coding in ALL {
            let body = coded(coding, &b"some words, and some more words".repeat(50));
            let told = decoded(coding, MOST, &[&body[..body.len() - 5]]);
            assert_eq!(told, Err(CodingError::Cut(coding.name())));
        }
    }

    #[test]
    fn what_is_something_else_is_refused() {
        for coding in ALL {
            let told = decoded(coding, MOST, &[&b"<html>no such thing</html>".repeat(20)]);
            assert_eq!(told, Err(CodingError::Malformed(coding.name())), "{coding:?}");
            let (mut decoder, mut out) = (Decoder::new(coding, MOST), BytesMut::new());
            assert!(decoder.feed(&[0xff; 64], &mut out).is_err() || decoder.finish(&mut out).is_err());
            assert!(decoder.feed(&coded(coding, b"x"), &mut out).is_err(), "it stays broken");
        }
    }

    #[test]
    fn few_bytes_that_stand_for_many_are_stopped() {
        for coding in ALL {
            let bomb = coded(coding, &vec![0; 3 * MOST]);
            assert!(bomb.len() < MOST / 100);
            assert_eq!(decoded(coding, MOST, &[&bomb]), Err(CodingError::TooLong(MOST)));
            // Taken as they come, they may be any number.
            let (mut decoder, mut total) = (Decoder::new(coding, 3 * MOST), 0);
            for piece in [&bomb[..10], &bomb[10..]] {
                let mut out = BytesMut::new();
                decoder.feed(piece, &mut out).unwrap();
                total += out.len();
            }
            let mut out = BytesMut::new();
            decoder.finish(&mut out).unwrap();
            assert_eq!(total + out.len(), 3 * MOST);
        }
    }

    proptest! {
        #[test]
        fn any_body_in_any_pieces_comes_out_as_it_was(
            plain in prop::collection::vec(any::<u8>(), 0..40_000), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            for coding in ALL {
                let body = coded(coding, &plain);
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).chain([0, body.len()]).collect();
                cuts.sort_unstable();
                let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &body[ends[0]..ends[1]]).collect();
                prop_assert_eq!(decoded(coding, MOST, &pieces), Ok(plain.clone()));
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), flip: prop::sample::Index) {
            for coding in ALL {
                let _ = decoded(coding, MOST, &[&bytes]);
                let mut body = coded(coding, &bytes);
                let at = flip.index(body.len());
                body[at] ^= 0x55;
                if let Ok(out) = decoded(coding, MOST, &[&body]) {
                    prop_assert!(out.len() <= MOST);
                }
            }
        }
    }
}
