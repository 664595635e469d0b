use super::*;
use crate::wire::Opcode;

const CONNECTION: u32 = 7;

fn payload(pattern: &Pattern, connection: u32, sequence: u32) -> Vec<u8> {
    let cursor = pattern.cursor(connection, sequence);
    let mut payload = pattern.prefix(cursor);
    payload.extend_from_slice(pattern.body(cursor));
    payload
}

/// A ledger that has sent so many messages.
fn sent(count: u32, pattern: &Pattern) -> Ledger {
    let mut ledger = Ledger::new(CONNECTION, pattern);
    ledger.begin(count, pattern.cursor(CONNECTION, count));
    ledger
}

fn whole(ledger: &mut Ledger, pattern: &Pattern, payload: &[u8]) -> Verdict {
    let data = Data {
        opcode: pattern.opcode(),
        offset: 0,
        piece: payload,
        last: true,
    };
    if ledger.receive_next(pattern, &data) {
        return Verdict::Right;
    }
    ledger.receive(pattern, &data).expect("it is whole")
}

/// In pieces of `size`; the last of them empty.
fn pieces(ledger: &mut Ledger, pattern: &Pattern, payload: &[u8], size: usize) -> Verdict {
    let mut offset = 0;
    for piece in payload.chunks(size) {
        let data = Data {
            opcode: pattern.opcode(),
            offset,
            piece,
            last: false,
        };
        assert!(!ledger.receive_next(pattern, &data));
        assert_eq!(ledger.receive(pattern, &data), None);
        offset += piece.len() as u64;
    }
    let data = Data {
        opcode: pattern.opcode(),
        offset,
        piece: &[],
        last: true,
    };
    if ledger.receive_next(pattern, &data) {
        return Verdict::Right;
    }
    ledger.receive(pattern, &data).expect("it is whole")
}

/// What comes of echoes in this order, whole and in pieces, and how many are lost.
fn order(len: usize, text: bool, count: u32, echoes: &[u32]) -> (Vec<Verdict>, u64) {
    let pattern = Pattern::new(len, text);
    let mut ledger = sent(count, &pattern);
    let verdicts: Vec<_> = echoes
        .iter()
        .map(|&i| whole(&mut ledger, &pattern, &payload(&pattern, CONNECTION, i)))
        .collect();
    for size in [1, 3, 100] {
        let mut ledger = sent(count, &pattern);
        for (&i, verdict) in echoes.iter().zip(&verdicts) {
            let payload = payload(&pattern, CONNECTION, i);
            assert_eq!(pieces(&mut ledger, &pattern, &payload, size), *verdict);
        }
    }
    (verdicts, ledger.lost())
}

use Corruption::{Connection, Content, Length, Sequence, Type};
use Verdict::{Corrupted, Duplicated, Reordered, Right};

#[test]
fn all_in_order_is_right() {
    for text in [true, false] {
        for len in [0, 1, 2, 7, 8, 15, 16, 17, 125, 4000] {
            let all: Vec<u32> = (0..40).collect();
            let (verdicts, lost) = order(len, text, 40, &all);
            assert_eq!((verdicts, lost), (vec![Right; 40], 0), "{len}");
        }
    }
}

#[test]
fn a_lost_one_is_lost() {
    assert_eq!(order(32, true, 4, &[0, 2, 3]), (vec![Right; 3], 1));
    assert_eq!(order(32, true, 4, &[0, 1, 2]), (vec![Right; 3], 1));
    assert_eq!(order(1, false, 4, &[0, 2, 3]), (vec![Right; 3], 1));
    assert_eq!(order(0, true, 4, &[0, 2, 3]), (vec![Right; 3], 1));
}

#[test]
fn a_second_one_is_a_duplicate() {
    let twice = (vec![Right, Duplicated, Right], 0);
    assert_eq!(order(32, true, 2, &[0, 0, 1]), twice);
    assert_eq!(order(8, false, 2, &[0, 0, 1]), twice);
    assert_eq!(order(1, false, 2, &[0, 0, 1]), twice);
    // Of empty messages only their number is known.
    let too_many = (vec![Right, Right, Duplicated], 0);
    assert_eq!(order(0, true, 2, &[0, 0, 1]), too_many);
}

#[test]
fn a_late_one_is_reordered() {
    let swapped = (vec![Right, Reordered, Right], 0);
    assert_eq!(order(32, true, 3, &[1, 0, 2]), swapped);
    assert_eq!(order(1, true, 3, &[1, 0, 2]), swapped);
    let twice = (vec![Right, Reordered, Duplicated], 1);
    assert_eq!(order(32, false, 3, &[1, 0, 0]), twice);
}

#[test]
fn one_never_sent_is_corrupt() {
    assert_eq!(
        order(32, true, 2, &[5, 1]),
        (vec![Corrupted(Sequence), Right], 0)
    );
}

#[test]
fn every_wrong_byte_is_found() {
    for text in [true, false] {
        let pattern = Pattern::new(40, text);
        let right = payload(&pattern, CONNECTION, 0);
        for i in 0..right.len() {
            let mut wrong = right.clone();
            wrong[i] ^= 1;
            for size in [1, 5, 40] {
                let mut ledger = sent(1, &pattern);
                let verdict = pieces(&mut ledger, &pattern, &wrong, size);
                assert!(matches!(verdict, Corrupted(_)), "{i}: {verdict:?}");
                assert_eq!(ledger.lost(), 0);
            }
            let verdict = whole(&mut sent(1, &pattern), &pattern, &wrong);
            assert!(matches!(verdict, Corrupted(_)), "{i}: {verdict:?}");
        }
    }
}

#[test]
fn swapped_and_shifted_bytes_are_found() {
    let pattern = Pattern::new(64, true);
    let right = payload(&pattern, CONNECTION, 0);
    let mut swapped = right.clone();
    swapped[20..60].rotate_left(20);
    assert_eq!(
        whole(&mut sent(1, &pattern), &pattern, &swapped),
        Corrupted(Content)
    );
    let mut shifted = right.clone();
    shifted[16..].rotate_left(4);
    assert_eq!(
        whole(&mut sent(1, &pattern), &pattern, &shifted),
        Corrupted(Content)
    );
    // The tail of another message.
    let mut mixed = right;
    mixed[40..].copy_from_slice(&payload(&pattern, CONNECTION, 1)[40..]);
    assert_eq!(
        whole(&mut sent(2, &pattern), &pattern, &mixed),
        Corrupted(Content)
    );
}

#[test]
fn a_stranger_is_found() {
    for (len, text) in [(2, true), (2, false), (32, true), (32, false)] {
        let pattern = Pattern::new(len, text);
        let strange = payload(&pattern, CONNECTION + 1, 0);
        assert_eq!(
            whole(&mut sent(1, &pattern), &pattern, &strange),
            Corrupted(Connection)
        );
        assert_eq!(
            pieces(&mut sent(1, &pattern), &pattern, &strange, 1),
            Corrupted(Connection)
        );
    }
}

#[test]
fn another_length_is_found() {
    for len in [1, 10, 32] {
        let pattern = Pattern::new(len, true);
        let mut long = payload(&pattern, CONNECTION, 0);
        long.push(b'x');
        for wrong in [&long[..], &long[..len - 1], &[]] {
            for size in [1, 100] {
                let verdict = pieces(&mut sent(1, &pattern), &pattern, wrong, size);
                assert_eq!(verdict, Corrupted(Length));
            }
            assert_eq!(
                whole(&mut sent(1, &pattern), &pattern, wrong),
                Corrupted(Length)
            );
        }
    }
}

#[test]
fn another_type_is_found() {
    let pattern = Pattern::new(32, true);
    let data = Data {
        opcode: Opcode::Binary,
        offset: 0,
        piece: &payload(&pattern, CONNECTION, 0),
        last: true,
    };
    assert_eq!(
        sent(1, &pattern).receive(&pattern, &data),
        Some(Corrupted(Type))
    );
}

#[test]
fn skipped_ones_are_bounded() {
    let pattern = Pattern::new(32, true);
    let mut ledger = sent(5000, &pattern);
    let late = payload(&pattern, CONNECTION, 4999);
    assert_eq!(whole(&mut ledger, &pattern, &late), Right);
    assert_eq!(ledger.skipped.len(), MOST_SKIPPED);
    assert_eq!(ledger.lost(), 4999);
}
