//! A clock that is cheap enough to read around a single allocation.
//!
//! On x86-64 it is the time-stamp counter, fenced so that the call it times stays
//! between the two reads, and calibrated against the system's clock; elsewhere it
//! is the system's clock. What an empty interval shows is to be subtracted.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::quantile::quantile;

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
            empty_tenths: 0.0,
        };
        let (start, ticks) = (Instant::now(), clock.ticks());
        while start.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        let (elapsed, ticks) = (start.elapsed(), clock.ticks() - ticks);
        clock.tenths_per_tick = elapsed.as_nanos() as f64 * 10.0 / ticks.max(1) as f64;
        let mut empty: Histogram<u32> = Histogram::new(3).expect("three digits are allowed");
        for _ in 0..EMPTY_INTERVALS {
            let start = clock.ticks();
            empty.saturating_record(clock.tenths_since(start));
        }
        clock.empty_tenths = quantile(&empty, 0.5);
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

    /// What an empty interval shows, in tenths of a nanosecond.
    pub(crate) fn empty_tenths(&self) -> f64 {
        self.empty_tenths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_at_least_as_long_as_a_sleep_in_it() {
        let clock = Clock::calibrated();
        let start = clock.ticks();
        std::thread::sleep(Duration::from_millis(2));
        // Half of it: the calibration itself is only as good as the machine is quiet.
        assert!(clock.tenths_since(start) >= 10_000_000);
    }
}
