//! Masking and unmasking, which are the same operation (RFC 6455 section 5.3).

/// Bytes per step of the main loop: two SSE2 registers.
const BLOCK: usize = 32;
/// Bytes of one register.
const HALF: usize = 16;
/// Longer payloads are masked and checked faster in two passes.
const SHORT: usize = 256;

/// Masks or unmasks `data` in place.
///
/// `offset` is the position of `data[0]` in the frame's payload, which decides the byte of `key`
/// to begin with.
#[inline]
pub fn mask_in_place(data: &mut [u8], key: [u8; 4], offset: usize) {
    mask_and_gather(data, rotate(key, offset));
}

/// Unmasks a whole payload in place. Short ones are looked at in the same pass, which spares short
/// text another: says whether the payload is known to be ASCII.
// Inlined, it would make its callers save registers that it alone needs.
#[inline(never)]
pub(super) fn unmask(data: &mut [u8], key: [u8; 4]) -> bool {
    if data.len() < SHORT {
        mask_and_gather(data, key) & 0x8080_8080_8080_8080 == 0
    } else {
        mask_in_place(data, key, 0);
        false
    }
}

/// Masks `data`, and returns all the masked bytes ORed together, eight by eight.
#[inline(always)]
fn mask_and_gather(data: &mut [u8], key: [u8; 4]) -> u64 {
    // The last bytes are masked on their own, from what they were before: they overlap the blocks,
    // and no loop over single bytes is left.
    let Some(&(mut last)) = data.last_chunk::<HALF>() else {
        return mask_short(data, key);
    };
    let mut all = xor_half(&mut last, rotate(key, data.len()));
    let (blocks, rest) = data.as_chunks_mut::<BLOCK>();
    for block in blocks {
        xor(block, key);
        all |= gather(block);
    }
    if let Some(half) = rest.first_chunk_mut::<HALF>() {
        all |= xor_half(half, key);
    }
    if let Some(end) = data.last_chunk_mut::<HALF>() {
        *end = last;
    }
    all
}

/// Masks less than [`HALF`] bytes.
#[inline]
fn mask_short(data: &mut [u8], key: [u8; 4]) -> u64 {
    let mut all = 0;
    let (words, rest) = data.as_chunks_mut::<4>();
    for word in words {
        xor(word, key);
        all |= u32::from_ne_bytes(*word);
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
        all |= u32::from(*byte);
    }
    u64::from(all)
}

/// Masks a half in two words, for which no register has to be made ready, and gathers them.
#[inline]
fn xor_half(data: &mut [u8; HALF], key: [u8; 4]) -> u64 {
    let key = u64::from(u32::from_ne_bytes(key));
    let key = key << 32 | key;
    let (words, _) = data.as_chunks_mut::<8>();
    words.iter_mut().fold(0, |all, word| {
        let masked = u64::from_ne_bytes(*word) ^ key;
        *word = masked.to_ne_bytes();
        all | masked
    })
}

#[inline]
fn gather<const N: usize>(data: &[u8; N]) -> u64 {
    let (words, _) = data.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_ne_bytes(*word));
    words.fold(0, |all, word| all | word)
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

    #[test]
    fn ascii_is_told_from_other_text_at_every_byte() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in (0..100).chain([SHORT - 1, SHORT]) {
            let mut masked = vec![b'x'; length];
            mask_in_place(&mut masked, key, 0);
            let mut data = masked.clone();
            assert_eq!(unmask(&mut data, key), length < SHORT);
            assert_eq!(data, vec![b'x'; length]);
            for at in 0..length {
                let mut data = masked.clone();
                data[at] ^= 0x80;
                assert!(!unmask(&mut data, key), "{at} of {length}");
            }
        }
    }

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
