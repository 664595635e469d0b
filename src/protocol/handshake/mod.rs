//! The opening handshake, both sides (RFC 6455 section 4, RFC 9112 for the HTTP it is made of).

mod client;
mod error;
mod head;
mod request;
mod response;
mod target;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

pub use client::{ClientAccepted, ClientHandshake, encode_key, verify_response};
pub use error::HandshakeError;
pub use head::find_head_end;
pub use request::{HeaderStorage, Request, UpgradeRequest, header_storage};
pub use response::encode_switching_protocols;

/// The most header fields a head may have.
pub const MAX_HEADERS: usize = 64;

/// The most subprotocols a client may offer.
pub const MAX_SUBPROTOCOLS: usize = 64;

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (section 4.2.2, item 5.4).
#[must_use]
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut out = [0; 28];
    let written = STANDARD.encode_slice(hash.finalize(), &mut out);
    debug_assert_eq!(written, Ok(out.len()));
    out
}

/// Whether `text` is a token: a method, a header name, a subprotocol (RFC 9110 section 5.6.2).
#[must_use]
pub fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether `text` may be the value of a header: no control characters but the tab, so that it
/// cannot end its line (RFC 9110 section 5.5).
#[must_use]
pub fn is_field_value(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// The elements of a comma-separated header value, without the whitespace around them.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether a comma-separated header value has the element `name`, in any case.
fn has_element(value: &[u8], name: &str) -> bool {
    elements(value).any(|element| element.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_nonce_of_section_1_3() {
        assert_eq!(
            &accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="),
            b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn tokens_and_values() {
        for token in ["json", "org.jwebsocket.json", "a!#$%&'*+-.^_`|~1"] {
            assert!(is_token(token), "{token}");
        }
        for text in ["", "a b", "a,b", "a/b", "\"a\"", "ä", "a\r\n", "a;b"] {
            assert!(!is_token(text), "{text}");
        }
        assert!(is_field_value("a\tb ä"));
        for text in ["a\r\nb", "a\0", "\x7f"] {
            assert!(!is_field_value(text), "{text:?}");
        }
    }
}
