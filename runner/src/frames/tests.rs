//! Frames as servers send them, good and bad, in any pieces.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::fuzz::{hold, mutated};

/// A frame as a server sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ ..126 => frame.push(short as u8),
        middle @ ..0x1_0000 => {
            frame.push(126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// What a client sends, as its server sees it: first byte and payload.
fn unmasked(frame: &[u8]) -> (u8, Vec<u8>) {
    let (length, at) = match frame[1] & 0x7f {
        126 => (u64::from(u16::from_be_bytes([frame[2], frame[3]])), 4),
        127 => (u64::from_be_bytes(frame[2..10].try_into().unwrap()), 10),
        short => (u64::from(short), 2),
    };
    assert_eq!((frame[1] & MASKED, frame.len()), (MASKED, at + 4 + length as usize));
    let (mask, payload) = frame[at..].split_at(4);
    (frame[0], payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect())
}

fn all(frames: &mut Frames) -> Result<Vec<Message>, Breach> {
    let mut messages = Vec::new();
    while let Some(message) = frames.take()? {
        messages.push(message);
    }
    Ok(messages)
}

fn heard(bytes: &[u8]) -> Result<Vec<Message>, Breach> {
    let mut frames = Frames::new(1000, None);
    frames.feed(bytes);
    all(&mut frames)
}

#[test]
fn a_message_in_pieces_is_one_with_controls_between() {
    let bytes = [
        frame(0x01, b"Gr\xc3"),
        frame(0x89, b"ping"),
        frame(0x00, b"\xbc\xc3\x9f"),
        frame(0x80, b"e"),
        frame(0x82, &[0; 126]),
        frame(0x8a, b""),
        frame(0x88, b"\x03\xe8bye"),
        frame(0x88, b""),
    ];
    let messages = [
        Message::Ping(Bytes::from_static(b"ping")),
        Message::Text("Grüße".into()),
        Message::Binary(Bytes::from_static(&[0; 126])),
        Message::Pong(Bytes::new()),
        Message::Close(1000, "bye".into()),
        Message::Close(0, String::new()),
    ];
    assert_eq!(heard(&bytes.concat()).unwrap(), messages);
}

#[test]
fn what_breaks_the_rules_has_its_code() {
    let huge = [&[0x82, 127][..], &u64::MAX.to_be_bytes()].concat();
    for (bytes, code, said) in [
        (frame(0x83, b""), 1002, "Unexpected opcode=3"),
        (frame(0xc1, b""), 1002, "reserved bits"),
        (frame(0xa1, b""), 1002, "reserved bits"),
        (vec![0x81, 0x81, 0, 0, 0, 0, 0], 1002, "masked"),
        (frame(0x09, b""), 1002, "Control frame"),
        (frame(0x89, &[0; 126]), 1002, "Control frame"),
        (frame(0x80, b""), 1002, "Continuation frame for non started"),
        ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002, "expected to be zero"),
        (frame(0x81, b"\xff"), 1007, "UTF-8"),
        (frame(0x88, b"\x03\xe8\xff"), 1007, "UTF-8"),
        (frame(0x88, b"\x03"), 1002, "one byte"),
        (frame(0x88, b"\x03\xed"), 1002, "Invalid close code: 1005"),
        (huge, 1009, "exceeds limit 1000"),
        (
            [frame(0x01, &[b'a'; 600]), frame(0x80, &[b'a'; 400])].concat(),
            1009,
            "Message size 1000 exceeds limit 1000",
        ),
    ] {
        let breach = heard(&bytes).unwrap_err();
        assert_eq!(breach.code, code, "{breach}");
        assert!(breach.text.contains(said), "{breach}");
    }
}

#[test]
fn a_few_compressed_bytes_that_stand_for_many_are_stopped() {
    let mut server = Frames::new(0, Some((false, false)));
    let (first, bomb) = unmasked(&server.encode(Opcode::Text, &vec![b'a'; 1_000_000], [0; 4]));
    assert!(bomb.len() < 2000);
    let mut frames = Frames::new(10_000, Some((false, false)));
    frames.feed(&frame(first, &bomb));
    assert_eq!(frames.take().unwrap_err().code, 1009);
    assert_eq!(heard(&frame(first, &bomb)).unwrap_err().code, 1002, "not agreed on");
}

#[test]
fn nothing_is_held_between_messages() {
    let mut frames = Frames::new(0, None);
    frames.feed(&frame(0x82, &vec![0; 100_000]));
    assert!(frames.take().unwrap().is_some());
    assert_eq!(frames.input.capacity(), 0);
}

fn payload() -> impl Strategy<Value = String> {
    prop_oneof![4 => ".{0,300}", 1 => "[ab]{65400,65800}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Both directions at once: what one side encodes, the other reads, whatever the pieces.
    #[test]
    fn what_is_sent_in_any_pieces_arrives(
        texts in vec(payload(), 0..5),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
        deflate in prop::option::of((any::<bool>(), any::<bool>())),
        mask: [u8; 4],
    ) {
        let mut sender = Frames::new(0, deflate.map(|(client, server)| (server, client)));
        let wire: Vec<u8> = texts.iter().flat_map(|text| {
            let (first, payload) = unmasked(&sender.encode(Opcode::Text, text.as_bytes(), mask));
            frame(first, &payload)
        }).collect();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        places.extend([0, wire.len()]);
        places.sort_unstable();
        let mut receiver = Frames::new(0, deflate);
        let mut got = Vec::new();
        for piece in places.windows(2) {
            receiver.feed(&wire[piece[0]..piece[1]]);
            got.extend(all(&mut receiver).unwrap());
        }
        prop_assert_eq!(got, texts.into_iter().map(Message::Text).collect::<Vec<_>>());
    }
}

#[test]
fn any_bytes_are_messages_or_a_breach_and_never_more_than_came() {
    const GOOD: &[&[u8]] = &[
        b"\x01\x02ab\x89\x01p\x80\x01c\x88\x05\x03\xe8bye",
        b"\xc1\x05\x4a\x4c\x02\x00\x00\x81\x7e\x00\x80",
    ];
    const TOKENS: &[&[u8]] =
        &[b"\x82\x7f", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\x81\x7e\xff\xff", b"\x88\x02"];
    hold(&(mutated(GOOD, TOKENS), any::<bool>()), |(bytes, compressed)| {
        let mut frames = Frames::new(50_000, compressed.then_some((false, false)));
        frames.feed(&bytes.0);
        if let Ok(messages) = all(&mut frames) {
            let size = |message: &Message| match message {
                Message::Text(text) => text.len(),
                Message::Binary(bytes) => bytes.len(),
                _ => 0,
            };
            prop_assert!(messages.iter().all(|message| size(message) < 50_000));
            prop_assert!(compressed || messages.iter().map(size).sum::<usize>() <= bytes.0.len());
        }
        Ok(())
    });
}
