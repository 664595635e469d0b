//! The most of something that still meets a limit.

use std::collections::BTreeMap;

/// How each bound of a doubling search grows.
const GROWTH: f64 = 2.0;

/// Where to search, and how closely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The first to be tried; more than 0.
    pub from: f64,
    /// The most to be tried; at least `from`.
    pub to: f64,
    /// How far the answer may be below the least that failed: a part of it, more than 0.
    pub precision: f64,
    /// Whether only whole numbers can be tried.
    pub whole: bool,
    /// Tries at most, the repeated ones included.
    pub tries: u32,
}

/// What a try found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The limit was met.
    Meets,
    /// It was not; why.
    Fails(String),
    /// The client could not keep up, which says nothing about the server; why.
    ClientBound(String),
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The most that met the limit; `None` if nothing did.
    pub most: Option<f64>,
    /// Why more might meet it, too, if that is so: the answer is then "at least".
    pub at_least: Option<String>,
    /// Why the least that failed did.
    pub failed: Option<String>,
}

/// One try of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Try {
    /// What was tried.
    pub value: f64,
    /// What it found.
    pub verdict: Verdict,
}

/// Searches for the most that meets a limit: doubles until something fails, then halves the distance.
/// What fails is tried once more, so that one hiccup does not end the search. `attempt` tries a value;
/// `None` ends the search, as when its time is up.
pub fn search(bounds: &Bounds, mut attempt: impl FnMut(f64) -> Option<Verdict>) -> Answer {
    let mut left = bounds.tries;
    let mut twice = |value: f64| -> Option<Verdict> {
        for again in [false, true] {
            left = left.checked_sub(1)?;
            match attempt(value)? {
                Verdict::Meets => return Some(Verdict::Meets),
                verdict if again => return Some(verdict),
                _ => {}
            }
        }
        None
    };
    let mut low = None;
    let mut high: Option<(f64, Verdict)> = None;
    let mut out_of_tries = false;
    while let Some(value) = bounds.next(low, high.as_ref().map(|high| high.0)) {
        match twice(value) {
            Some(Verdict::Meets) => low = Some(value),
            Some(verdict) => high = Some((value, verdict)),
            None => {
                out_of_tries = true;
                break;
            }
        }
    }
    let (client, failed) = match high {
        Some((_, Verdict::ClientBound(why))) => (Some(why), None),
        Some((_, Verdict::Fails(why))) => (None, Some(why)),
        _ => (None, None),
    };
    let ended = out_of_tries.then(|| "the search ended before it was complete".into());
    let all_meet = (low == Some(bounds.to)).then(|| "everything tried met the limit".into());
    Answer {
        most: low,
        at_least: client
            .map(|why| format!("beyond it, the client was the bottleneck: {why}"))
            .or(ended)
            .or(all_meet),
        failed,
    }
}

impl Bounds {
    /// What to try next, between the most that met the limit and the least that did not.
    fn next(&self, low: Option<f64>, high: Option<f64>) -> Option<f64> {
        let round = |value: f64| if self.whole { value.round() } else { value };
        match (low, high) {
            (None, None) => Some(self.from),
            (None, Some(_)) => None,
            (Some(low), None) if low >= self.to => None,
            (Some(low), None) => Some(round(low * GROWTH).clamp(self.from, self.to)),
            (Some(low), Some(high)) => {
                let middle = round((low + high) / 2.0);
                let close = high - low <= self.precision * high;
                (!close && middle > low && middle < high).then_some(middle)
            }
        }
    }
}

/// The tries of a search as entries of a report's details: `try.1`, `try.1.met` and so on.
pub fn details(tries: &[Try]) -> BTreeMap<String, f64> {
    let mut details = BTreeMap::new();
    for (i, one) in tries.iter().enumerate() {
        let name = format!("try.{}", i + 1);
        let met = f64::from(u8::from(one.verdict == Verdict::Meets));
        details.insert(format!("{name}.met"), met);
        details.insert(name, one.value);
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        from: 10.0,
        to: 100_000.0,
        precision: 0.05,
        whole: true,
        tries: 100,
    };

    fn below(limit: f64) -> impl Fn(f64) -> Verdict {
        move |value| {
            if value <= limit {
                Verdict::Meets
            } else {
                Verdict::Fails("slow".into())
            }
        }
    }

    /// The answer, and how many tries it took.
    fn tried(bounds: &Bounds, verdict: impl Fn(f64) -> Verdict) -> (Answer, u32) {
        let mut tries = 0;
        let answer = search(bounds, |value| {
            assert!((bounds.from..=bounds.to).contains(&value), "{value}");
            assert!(!bounds.whole || value.fract() == 0.0, "{value}");
            tries += 1;
            Some(verdict(value))
        });
        (answer, tries)
    }

    #[test]
    fn it_finds_a_breaking_point_as_closely_as_asked() {
        for limit in [10.0, 11.0, 19.0, 20.0, 999.0, 7_777.7, 99_999.0] {
            for precision in [0.001, 0.05, 0.3] {
                let bounds = Bounds {
                    precision,
                    ..BOUNDS
                };
                let (answer, tries) = tried(&bounds, below(limit));
                let most = answer.most.unwrap();
                assert!(most <= limit, "{limit}: {most}");
                let next = (most + 1.0).max(most / (1.0 - precision) + 1e-6);
                assert!(next >= limit.floor(), "{limit} {precision}: {most}");
                assert_eq!(answer.failed.as_deref(), Some("slow"));
                assert_eq!(answer.at_least, None);
                assert!(tries < 60, "{tries}");
            }
        }
    }

    #[test]
    fn fractions_are_searched_where_they_may_be() {
        let bounds = Bounds {
            from: 0.5,
            to: 3.0,
            whole: false,
            ..BOUNDS
        };
        let (answer, _) = tried(&bounds, below(1.7));
        assert!((1.6..=1.7).contains(&answer.most.unwrap()), "{answer:?}");
    }

    #[test]
    fn none_meets() {
        let (answer, tries) = tried(&BOUNDS, below(5.0));
        assert_eq!((answer.most, tries), (None, 2));
        assert_eq!(answer.failed.as_deref(), Some("slow"));
    }

    #[test]
    fn all_meet() {
        let (answer, tries) = tried(&BOUNDS, below(f64::MAX));
        assert_eq!(answer.most, Some(BOUNDS.to));
        assert!(answer.at_least.unwrap().contains("everything"));
        assert!(tries < 16, "{tries}");
    }

    #[test]
    fn one_hiccup_does_not_end_it() {
        let mut tries = 0;
        // Every third try fails whatever it tries.
        let answer = search(&BOUNDS, |value| {
            tries += 1;
            if tries % 3 == 0 {
                Some(Verdict::Fails("noise".into()))
            } else {
                Some(below(5_000.0)(value))
            }
        });
        let most = answer.most.unwrap();
        assert!((4_700.0..=5_000.0).contains(&most), "{most}");
    }

    #[test]
    fn noise_near_the_limit_still_ends_near_it() {
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..200 {
            let limit = 50.0 + 40_000.0 * rng.f64();
            let (answer, _) = {
                let rng = std::cell::RefCell::new(&mut rng);
                tried(&BOUNDS, |value| {
                    let noise = 0.9 + 0.2 * rng.borrow_mut().f64();
                    below(limit)(value * noise)
                })
            };
            let most = answer.most.unwrap();
            assert!(
                (0.8 * limit..=1.15 * limit + 1.0).contains(&most),
                "{limit}: {most}"
            );
        }
    }

    #[test]
    fn a_busy_client_makes_it_at_least() {
        let (answer, _) = tried(&BOUNDS, |value| match below(300.0)(value) {
            Verdict::Fails(_) => Verdict::ClientBound("busy".into()),
            verdict => verdict,
        });
        assert!((285.0..=300.0).contains(&answer.most.unwrap()));
        assert!(
            answer
                .at_least
                .unwrap()
                .contains("client was the bottleneck: busy")
        );
        assert_eq!(answer.failed, None);
    }

    #[test]
    fn it_ends_with_its_tries_or_its_time() {
        let bounds = Bounds { tries: 4, ..BOUNDS };
        let (answer, tries) = tried(&bounds, below(1e9));
        assert_eq!((answer.most, tries), (Some(80.0), 4));
        assert!(answer.at_least.unwrap().contains("before it was complete"));
        let answer = search(&BOUNDS, |_| None);
        assert_eq!(answer.most, None);
        assert!(answer.at_least.is_some());
    }
}
