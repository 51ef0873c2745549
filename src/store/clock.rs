//! The clock that measures leases and the lifetimes of tickets.

use std::time::Duration;

/// A moment on a clock that only moves forward, in nanoseconds since its start.
///
/// The clock also runs while the machine is suspended. `Instant` does not on Linux and macOS: a server
/// that wakes up would take a snapshot from before the suspension for a fresh one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Before every moment that [`now`](Self::now) returns.
    pub(crate) const START: Self = Self(0);

    #[cfg(unix)]
    pub(crate) fn now() -> Self {
        use rustix::time::{ClockId, clock_gettime};

        // Apple's monotonic clock runs during sleep; the one of Linux does not.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const CLOCK: ClockId = ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const CLOCK: ClockId = ClockId::Monotonic;

        let time = clock_gettime(CLOCK);
        // Neither is negative, and 64 bits of nanoseconds last for 584 years.
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
        Self(seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds))
    }

    /// Windows counts the time of a suspension in `Instant`.
    #[cfg(not(unix))]
    pub(crate) fn now() -> Self {
        use std::sync::LazyLock;
        use std::time::Instant;

        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Self(1).after(START.elapsed())
    }

    /// This long after this moment, or the last moment that can be told.
    pub(crate) fn after(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }

    /// How long ago it was.
    #[cfg(test)]
    pub(crate) fn elapsed(self) -> Duration {
        Duration::from_nanos(Self::now().0.saturating_sub(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_only_grow() {
        let first = Moment::now();
        let second = Moment::now();
        assert!(Moment::START < first && first <= second);
        assert!(first.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn the_longest_duration_does_not_overflow() {
        assert!(Moment::now().after(Duration::MAX) > Moment::now().after(Duration::from_secs(1)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_clock_counts_the_time_of_a_suspension() {
        let since_boot = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = since_boot.split(' ').next().unwrap().parse().unwrap();
        let now = Moment::START.elapsed().as_secs_f64();
        assert!((now - seconds).abs() < 60.0, "{now} is not {seconds}");
    }
}
