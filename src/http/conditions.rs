//! Conditional requests (RFC 9110 section 13): a client that has a page already asks whether it
//! has changed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::protocol::Request;

/// What a request says of the copy its client has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// All `If-None-Match` headers.
    none_match: Vec<String>,
    modified_since: Option<SystemTime>,
}

impl Conditions {
    pub(crate) fn of(request: &Request<'_>) -> Self {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).ok();
        let none_match = request
            .headers()
            .filter(|(name, _)| name.eq_ignore_ascii_case("If-None-Match"))
            .filter_map(|(_, value)| text(value));
        let since = request.header("If-Modified-Since").and_then(text);
        Self {
            none_match: none_match.collect(),
            modified_since: since.and_then(|date| httpdate::parse_http_date(&date).ok()),
        }
    }

    /// Whether the client's copy is still good. The date counts only for a client that has no tag
    /// (section 13.1.3).
    pub(super) fn are_met_by(&self, etag: Option<&str>, modified: Option<SystemTime>) -> bool {
        if self.none_match.is_empty() {
            return match (self.modified_since, modified) {
                (Some(since), Some(modified)) => whole_seconds(modified) <= since,
                _ => false,
            };
        }
        let mut tags = self.none_match.iter().flat_map(|value| value.split(','));
        tags.any(|tag| {
            let tag = tag.trim();
            tag == "*" || etag.is_some_and(|etag| opaque(tag) == opaque(etag))
        })
    }
}

/// A tag without the mark of a weak one: this comparison is the weak one (section 8.8.3.2).
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// The last second of the year 9999, since 1970.
const LAST_SECOND: u64 = 253_402_300_799;

/// A time as a date in HTTP can say it, or the nearest one: its years have four digits (RFC 9110
/// section 5.6.7), and those before 1970 are of no use here.
pub(super) fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs().min(LAST_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(none_match: &[&str], since: Option<u64>) -> Conditions {
        Conditions {
            none_match: none_match.iter().map(ToString::to_string).collect(),
            modified_since: since.map(|since| UNIX_EPOCH + Duration::from_secs(since)),
        }
    }

    #[test]
    fn a_tag_matches_in_any_list_and_weakly() {
        let cases: [(&[&str], bool); 9] = [
            (&["\"a\""], true),
            (&["W/\"a\""], true),
            (&["\"b\", \"a\""], true),
            (&["\"b\"", "\"c\" ,W/\"a\""], true),
            (&["*"], true),
            (&["\"b\""], false),
            (&["a"], false),
            (&["\"ab\""], false),
            (&[""], false),
        ];
        for (none_match, met) in cases {
            let conditions = conditions(none_match, None);
            assert_eq!(
                conditions.are_met_by(Some("\"a\""), None),
                met,
                "{none_match:?}"
            );
        }
    }

    #[test]
    fn a_date_counts_in_whole_seconds_and_only_without_a_tag() {
        let modified = Some(UNIX_EPOCH + Duration::from_millis(100_900));
        for (since, met) in [(99, false), (100, true), (101, true)] {
            let conditions = conditions(&[], Some(since));
            assert_eq!(
                conditions.are_met_by(Some("\"a\""), modified),
                met,
                "{since}"
            );
            assert!(!conditions.are_met_by(Some("\"a\""), None));
        }
        assert!(!conditions(&["\"b\""], Some(101)).are_met_by(Some("\"a\""), modified));
        assert!(!conditions(&[], None).are_met_by(Some("\"a\""), modified));
    }
}
