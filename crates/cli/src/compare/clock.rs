//! A clock that is cheap enough to read around a single allocation.
//!
//! On x86-64 it is the time-stamp counter, fenced so that the call it times stays
//! between the two reads, and calibrated against the system's clock; elsewhere it
//! is the system's clock. What an empty interval shows is to be subtracted.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::quantile::{intervals, quantile};

/// How long calibration takes.
const CALIBRATION: Duration = Duration::from_millis(5);

/// How many empty intervals tell what reading the clock takes.
const EMPTY_INTERVALS: u32 = 10_000;

/// A calibrated clock. Read-only: threads may share it.
#[derive(Debug)]
pub(crate) struct Clock {
    #[cfg(not(target_arch = "x86_64"))]
    start: Instant,
    /// Tenths of a nanosecond in one tick.
    tenths_per_tick: f64,
    /// The steps in which the clock moves, in tenths of a nanosecond.
    step_tenths: f64,
    /// What an empty interval shows: the median, in tenths of a nanosecond.
    empty_tenths: f64,
}

impl Clock {
    /// Calibrates a clock, which takes some milliseconds.
    pub(crate) fn calibrated() -> Clock {
        let mut clock = Clock {
            #[cfg(not(target_arch = "x86_64"))]
            start: Instant::now(),
            tenths_per_tick: 1.0,
            step_tenths: 0.0,
            empty_tenths: 0.0,
        };
        let (start, ticks) = (Instant::now(), clock.ticks());
        while start.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        let (elapsed, ticks) = (start.elapsed(), clock.ticks() - ticks);
        clock.tenths_per_tick = elapsed.as_nanos() as f64 * 10.0 / ticks.max(1) as f64;
        let mut empty = intervals();
        let mut step = 0;
        for _ in 0..EMPTY_INTERVALS {
            let start = clock.ticks();
            empty.saturating_record(clock.tenths_since(start));
            step = common_divisor(step, clock.ticks() - start);
        }
        clock.step_tenths = step as f64 * clock.tenths_per_tick;
        clock.empty_tenths = clock.quantile(&empty, 0.5);
        clock
    }

    /// The time now, in ticks.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(crate) fn ticks(&self) -> u64 {
        use std::arch::x86_64::{_mm_lfence, _rdtsc};
        // SAFETY: every x86-64 processor has both instructions, and neither touches memory.
        unsafe {
            _mm_lfence();
            let ticks = _rdtsc();
            _mm_lfence();
            ticks
        }
    }

    /// The time now, in ticks.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline]
    pub(crate) fn ticks(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Tenths of a nanosecond since `start`, and what reading the clock takes.
    #[inline]
    pub(crate) fn tenths_since(&self, start: u64) -> u64 {
        (self.ticks().saturating_sub(start) as f64 * self.tenths_per_tick) as u64
    }

    /// A quantile of intervals that this clock has measured, in nanoseconds, without
    /// what reading the clock takes.
    pub(crate) fn nanoseconds(&self, intervals: &Histogram<u32>, share: f64) -> f64 {
        (self.quantile(intervals, share) - self.empty_tenths).max(0.0) / 10.0
    }

    fn quantile(&self, intervals: &Histogram<u32>, share: f64) -> f64 {
        quantile(intervals, share, self.step_tenths)
    }
}

/// The greatest number that divides both, where everything divides zero (Euclid).
fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_what_all_intervals_are_multiples_of() {
        assert_eq!([52, 78, 130].into_iter().fold(0, common_divisor), 26);
        assert_eq!([52, 78, 131].into_iter().fold(0, common_divisor), 1);
        assert_eq!(common_divisor(0, 0), 0);
    }

    #[test]
    fn nanoseconds_are_tenths_less_an_empty_interval() {
        let mut clock = Clock::calibrated();
        (clock.step_tenths, clock.empty_tenths) = (100.0, 150.0);
        let mut seen = intervals();
        (0..4).for_each(|_| seen.saturating_record(500));
        assert_eq!(clock.nanoseconds(&seen, 0.5), 35.0);
        let empty = intervals();
        assert_eq!(clock.nanoseconds(&empty, 0.5), 0.0, "never below nothing");
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let clock = Clock::calibrated();
        assert!(clock.tenths_per_tick > 0.0 && clock.empty_tenths >= 0.0);
        let start = clock.ticks();
        assert!(clock.ticks() >= start);
    }
}
