//! How many of the deliveries there were that there ought to have been.

use crate::report::format::exact_percentage;
use crate::report::{Fault, Report};

/// Deliveries there were, in percent of those there ought to have been; `None` if nothing was published.
pub fn reach(deliveries: f64, published: f64, receivers: f64) -> Option<f64> {
    let expected = published * receivers;
    (expected > 0.0).then(|| 100.0 * deliveries / expected)
}

/// Completes the report of a run with what follows from the counts of all its threads: the reach,
/// which is a fault unless it is whole.
pub fn complete(report: &mut Report) {
    let count = |what: &str| report.details.get(what).copied().unwrap_or_default();
    let (deliveries, published) = (count("deliveries"), count("published"));
    let receivers = count("receivers");
    let mut fault = |what: String| report.faults.push(Fault { what, count: 1 });
    match reach(deliveries, published, receivers) {
        Some(reach) => {
            let expected = published * receivers;
            if deliveries != expected {
                fault(format!(
                    "the reach is {}%: {deliveries} deliveries instead of {expected}",
                    exact_percentage(reach)
                ));
            }
            report.details.insert("reach_percent".into(), reach);
        }
        None => fault("nothing was published in the measured part".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::summary;

    #[test]
    fn reach_is_deliveries_of_all_there_ought_to_have_been() {
        assert_eq!(reach(5_000.0, 5.0, 1_000.0), Some(100.0));
        assert_eq!(reach(4_999.0, 5.0, 1_000.0), Some(99.98));
        assert_eq!(reach(0.0, 5.0, 1_000.0), Some(0.0));
        assert_eq!(reach(0.0, 0.0, 1_000.0), None);
    }

    /// A report with 100 receivers.
    fn counted(deliveries: f64, published: f64) -> Report {
        let mut report = Report::default();
        for (what, count) in [
            ("deliveries", deliveries),
            ("published", published),
            ("receivers", 100.0),
        ] {
            report.details.insert(what.into(), count);
        }
        complete(&mut report);
        report
    }

    #[test]
    fn a_reach_that_is_not_whole_does_not_look_so() {
        for (published, reach) in [(75.0, "99.9866"), (1e6, "99.9999")] {
            let report = counted(100.0 * published - 1.0, published);
            let text = summary::text(&report, None);
            let said = text.lines().find(|line| line.contains("reach_percent"));
            let said = said.and_then(|line| line.split_whitespace().last());
            assert_eq!(said, Some(reach), "{text}");
            let fault = format!("the reach is {reach}%");
            assert!(report.faults[0].what.contains(&fault), "{report:?}");
        }
    }

    #[test]
    fn a_reach_that_is_not_whole_is_a_fault() {
        let report = |deliveries| counted(deliveries, 10.0);
        assert!(report(1_000.0).is_faultless());
        assert_eq!(report(1_000.0).details["reach_percent"], 100.0);
        let short = report(999.0);
        assert_eq!(short.details["reach_percent"], 99.9);
        assert!(short.faults[0].what.contains("99.9000%"), "{short:?}");
        let mut nothing = Report::default();
        complete(&mut nothing);
        assert!(!nothing.is_faultless());
    }
}
