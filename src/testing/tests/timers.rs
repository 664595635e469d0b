//! `Peer::set_timer` in virtual time.

use super::*;

fn timers(log: &Log) -> usize {
    log.count("timer")
}

#[test]
fn fires_once_after_its_delay() {
    let log = Log::default();
    let mut peer = probe(&log, obey).connect().unwrap();
    peer.send("timer 1500");
    happens_after(&mut peer, 1500, |_| timers(&log) == 1);
    peer.advance(Duration::from_secs(86_400));
    assert_eq!(timers(&log), 1);
}

#[test]
fn the_last_setting_counts() {
    let log = Log::default();
    let mut peer = probe(&log, obey).connect().unwrap();
    for (first, second) in [(1000, 400), (400, 1000)] {
        let before = timers(&log);
        peer.send(&*format!("timer {first}"));
        peer.send(&*format!("timer {second}"));
        happens_after(&mut peer, second, |_| timers(&log) == before + 1);
        peer.advance(millis(5000));
        assert_eq!(timers(&log), before + 1);
    }
}

#[test]
fn a_cleared_timer_does_not_fire() {
    let log = Log::default();
    let mut peer = probe(&log, obey).connect().unwrap();
    peer.send("timer 1000");
    peer.advance(millis(999));
    peer.send("clear");
    peer.advance(Duration::from_secs(60));
    assert_eq!(timers(&log), 0);
    assert_eq!(peer.stats().memory, 0);
}

#[test]
fn rearmed_by_itself_it_keeps_the_millisecond_over_many_hours() {
    let log = Log::default();
    let period = 3_599_999;
    let react = move |peer: &mut Peer<'_>, on: On<'_>| {
        if let On::Open | On::Timer = on {
            peer.set_timer(millis(period));
        }
    };
    let mut peer = probe(&log, react).connect().unwrap();
    for hour in 1..=100 {
        happens_after(&mut peer, period, |_| timers(&log) == hour);
    }
}

/// A tick wraps around after 49.7 days.
#[test]
fn the_longest_delay_is_24_days_and_the_clock_may_wrap_around() {
    let log = Log::default();
    let react = |peer: &mut Peer<'_>, on: On<'_>| {
        if let On::Open | On::Timer = on {
            peer.set_timer(Duration::MAX);
        }
    };
    let quiet = config(|config| config.timeouts.ping_interval = None);
    let mut peer = probe(&log, react).config(quiet).connect().unwrap();
    for round in 1..=10 {
        let longest = u64::from(crate::connection::MAX_TICKS);
        happens_after(&mut peer, longest, |_| timers(&log) == round);
    }
}

#[test]
fn a_delay_of_zero_is_a_millisecond_and_never_spins() {
    let log = Log::default();
    let react = |peer: &mut Peer<'_>, on: On<'_>| {
        if let On::Open | On::Timer = on {
            peer.set_timer(Duration::ZERO);
        }
    };
    let mut peer = probe(&log, react).connect().unwrap();
    peer.advance(millis(100));
    assert_eq!(timers(&log), 100);
}

#[test]
fn a_timer_does_not_outlive_a_close_that_is_not_answered() {
    let log = Log::default();
    let mut peer = probe(&log, obey).connect().unwrap();
    peer.send("timer 1000");
    peer.send("close 1000 ");
    peer.advance(millis(4999));
    assert_eq!(timers(&log), 0);
    assert_eq!(peer.stats().connections, 1);
    peer.advance(millis(1));
    assert!(is_empty(&mut peer));
}

#[test]
fn setting_a_timer_while_closing_does_nothing() {
    let log = Log::default();
    let react = |peer: &mut Peer<'_>, on: On<'_>| match on {
        On::Message(_) => {
            peer.close(CloseCode::NORMAL, "");
            peer.set_timer(millis(1));
        }
        On::Close => peer.set_timer(millis(1)),
        _ => {}
    };
    let mut peer = probe(&log, react).connect().unwrap();
    peer.send("go");
    peer.advance(millis(100));
    peer.close(None, "");
    peer.end_stream();
    peer.advance(millis(100));
    assert_eq!(timers(&log), 0);
    assert!(is_empty(&mut peer));
}
