//! The protocol layer alone: masking, frames, UTF-8 and the opening handshake.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::protocol::{
    Decoder, DecoderSettings, Opcode, Request, Role, Utf8Validator, encode_frame,
    encode_switching_protocols, find_head_end, header_storage, mask_in_place, mask_into,
};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const SIZES: [(&str, usize); 2] = [("125B", 125), ("16KiB", 16 * 1024)];

fn mask(c: &mut Criterion) {
    let mut group = c.benchmark_group("mask");
    for (name, size) in SIZES {
        let mut data = vec![7; size];
        let mut out = Vec::with_capacity(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("in place {name}"), |b| {
            b.iter(|| mask_in_place(black_box(&mut data), black_box(KEY), 0));
        });
        group.bench_function(format!("copy {name}"), |b| {
            b.iter(|| {
                out.clear();
                mask_into(&mut out, black_box(&data), black_box(KEY), 0);
            });
        });
    }
}

/// Decodes all of `input`, which is then no longer masked: returns how many messages there were.
fn drain(settings: &DecoderSettings, decoder: &mut Decoder, input: &mut [u8]) -> usize {
    let mut at = 0;
    let mut messages = 0;
    while at < input.len() {
        let (taken, event) = decoder
            .next(settings, &mut input[at..])
            .expect("valid frames");
        at += taken;
        messages += usize::from(black_box(event).is_some());
    }
    messages
}

fn decode(c: &mut Criterion) {
    let settings = DecoderSettings {
        role: Role::Server,
        max_message: 16 << 20,
        max_fragments: 1024,
    };
    let mut decoder = Decoder::default();
    let mut group = c.benchmark_group("decode");
    for (kind, opcode) in [("text", Opcode::Text), ("binary", Opcode::Binary)] {
        for (name, size, count) in [
            ("125B", 125, 1),
            ("64 x 125B", 125, 64),
            ("16KiB", 16384, 1),
        ] {
            let mut bytes = Vec::new();
            for _ in 0..count {
                encode_frame(&mut bytes, opcode, Some(KEY), &vec![b'x'; size]);
            }
            group.throughput(Throughput::Bytes((size * count) as u64));
            group.bench_function(format!("{kind} {name}"), |b| {
                b.iter_batched_ref(
                    || bytes.clone(),
                    |bytes| assert_eq!(drain(&settings, &mut decoder, bytes), count),
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for (name, size) in SIZES {
        let payload = vec![b'x'; size];
        let mut out = Vec::with_capacity(size + 16);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                encode_frame(&mut out, Opcode::Text, None, black_box(&payload));
            });
        });
    }
}

fn utf8(c: &mut Criterion) {
    let mut group = c.benchmark_group("utf8");
    for (name, unit) in [("ASCII", "sockeye "), ("multi-byte", "κόσμε 日本 🐟")] {
        for (size_name, size) in SIZES {
            let mut text = unit.repeat(size / unit.len() + 1);
            text.truncate(text.floor_char_boundary(size));
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(format!("{name} {size_name}"), |b| {
                b.iter(|| Utf8Validator::default().push(black_box(text.as_bytes())));
            });
        }
    }
}

/// What Firefox sends.
const REQUEST: &[u8] = b"GET /echo HTTP/1.1\r\n\
    Host: localhost:9998\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: */*\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Origin: http://localhost:9998\r\n\
    Sec-WebSocket-Protocol: json\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Connection: keep-alive, Upgrade\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Sec-Fetch-Mode: websocket\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    Upgrade: websocket\r\n\r\n";

fn handshake(c: &mut Criterion) {
    let mut out = Vec::with_capacity(512);
    c.bench_function("handshake", |b| {
        b.iter(|| {
            let buffer = black_box(REQUEST);
            let end = find_head_end(buffer, 0).expect("a whole head");
            let mut headers = header_storage();
            let request = Request::parse(&buffer[..end], &mut headers).expect("valid");
            let upgrade = request.upgrade().expect("valid").expect("an upgrade");
            let chosen = request.subprotocols().next();
            out.clear();
            encode_switching_protocols(&mut out, &upgrade.key, chosen, std::iter::empty());
        });
    });
}

criterion_group!(benches, mask, decode, encode, utf8, handshake);
criterion_main!(benches);
