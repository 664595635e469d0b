//! Masking and unmasking, which are the same operation (RFC 6455 section 5.3).

/// Bytes per step of the main loop: two SSE2 registers.
const BLOCK: usize = 32;
/// Bytes of one register.
const HALF: usize = 16;

/// Masks or unmasks `data` in place.
///
/// `offset` is the position of `data[0]` in the frame's payload, which decides the byte of `key`
/// to begin with.
#[inline]
pub fn mask_in_place(data: &mut [u8], key: [u8; 4], offset: usize) {
    let key = rotate(key, offset);
    // The last bytes are masked on their own, from what they were before: they overlap the blocks,
    // and no loop over single bytes is left.
    let Some(&(mut last)) = data.last_chunk::<HALF>() else {
        return mask_short(data, key);
    };
    xor(&mut last, rotate(key, data.len() - HALF));
    let (blocks, rest) = data.as_chunks_mut::<BLOCK>();
    for block in blocks {
        xor(block, key);
    }
    if let Some(half) = rest.first_chunk_mut::<HALF>() {
        xor(half, key);
    }
    if let Some(end) = data.last_chunk_mut::<HALF>() {
        *end = last;
    }
}

/// Masks less than [`HALF`] bytes.
#[inline]
fn mask_short(data: &mut [u8], key: [u8; 4]) {
    let (words, rest) = data.as_chunks_mut::<4>();
    for word in words {
        xor(word, key);
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Appends a masked or unmasked copy of `data` to `out` in one pass.
///
/// `offset` is the position of `data[0]` in the frame's payload.
#[inline]
pub fn mask_into(out: &mut Vec<u8>, data: &[u8], key: [u8; 4], offset: usize) {
    let key = rotate(key, offset);
    out.reserve(data.len());
    let (blocks, rest) = data.as_chunks::<64>();
    for block in blocks {
        let mut block = *block;
        xor(&mut block, key);
        out.extend_from_slice(&block);
    }
    let start = out.len();
    out.extend_from_slice(rest);
    mask_in_place(&mut out[start..], key, 0);
}

/// The key as it applies from `offset` on.
#[inline]
fn rotate(key: [u8; 4], offset: usize) -> [u8; 4] {
    let bits = 8 * (offset % 4) as u32;
    u32::from_le_bytes(key).rotate_right(bits).to_le_bytes()
}

#[inline]
fn xor<const N: usize>(data: &mut [u8; N], key: [u8; 4]) {
    let (words, _) = data.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(data: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
        data.iter()
            .enumerate()
            .map(|(i, byte)| byte ^ key[(i + offset) % 4])
            .collect()
    }

    #[test]
    fn agrees_with_the_rfc_formula_at_every_length_and_offset() {
        let key = [0x12, 0xfe, 0x00, 0x9b];
        let data: Vec<u8> = (0..200).map(|i| (i * 7) as u8).collect();
        for length in 0..data.len() {
            for offset in 0..5 {
                let data = &data[..length];
                let expected = naive(data, key, offset);
                let mut in_place = data.to_vec();
                mask_in_place(&mut in_place, key, offset);
                assert_eq!(in_place, expected, "length {length}, offset {offset}");
                let mut copy = vec![0xaa];
                mask_into(&mut copy, data, key, offset);
                assert_eq!(copy[1..], expected, "length {length}, offset {offset}");
            }
        }
    }

    #[test]
    fn offset_may_be_huge() {
        let mut data = [0; 5];
        mask_in_place(&mut data, [1, 2, 3, 4], usize::MAX);
        assert_eq!(data, [4, 1, 2, 3, 4]);
    }
}
