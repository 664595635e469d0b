//! The frame decoder: any bytes, cut anywhere, mean the same, whichever way they come in.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sockeye_fuzz::{Choice, Rarely, cut, decode};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    choice: Choice,
    cuts: [u16; 3],
    /// Makes one of the bytes very many, so that few bytes can hold a long payload.
    stretch: Rarely,
    at: u16,
    by: u16,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let settings = input.choice.settings();
    let mut bytes = Vec::new();
    if input.stretch.0 && !input.bytes.is_empty() {
        let (front, rest) = input
            .bytes
            .split_at(usize::from(input.at) % input.bytes.len());
        bytes.extend_from_slice(front);
        bytes.resize(front.len() + usize::from(input.by), rest[0]);
        bytes.extend_from_slice(rest);
    } else {
        bytes.extend_from_slice(input.bytes);
    }
    let whole = decode(&settings, [&bytes[..]], false);
    let pieces = cut(&bytes, &input.cuts);
    assert_eq!(decode(&settings, pieces.iter().copied(), false), whole);
    assert_eq!(decode(&settings, pieces, true), whole);
    if bytes.len() <= 64 {
        assert_eq!(decode(&settings, bytes.chunks(1), true), whole);
    }
});
