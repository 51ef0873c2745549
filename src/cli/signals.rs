//! Holds the signals that would end the process between a change and the output of its new secret.

#[cfg(unix)]
pub(super) use self::unix::Hold;

#[cfg(unix)]
mod unix {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::{flag, low_level};

    /// Signals end the process as usual until [`begin`](Self::begin). From then on they wait until this is
    /// dropped.
    pub(in crate::cli) struct Hold {
        ends_process: Arc<AtomicBool>,
        arrived: Arc<AtomicUsize>,
    }

    impl Hold {
        pub(in crate::cli) fn new() -> Self {
            let hold = Self {
                ends_process: Arc::new(AtomicBool::new(true)),
                arrived: Arc::new(AtomicUsize::new(0)),
            };
            let ignored = ignored_signals();
            for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
                // A handler would undo `nohup`.
                if ignored >> (signal - 1) & 1 == 1 {
                    continue;
                }
                // If a handler cannot be registered, the signal keeps its default effect.
                let ends_process = Arc::clone(&hold.ends_process);
                if flag::register_conditional_default(signal, ends_process).is_ok() {
                    let number = usize::try_from(signal).unwrap_or_default();
                    let _ = flag::register_usize(signal, Arc::clone(&hold.arrived), number);
                }
            }
            hold
        }

        pub(in crate::cli) fn begin(&self) {
            self.ends_process.store(false, Ordering::SeqCst);
        }
    }

    impl Drop for Hold {
        /// Ends the process if a signal has arrived meanwhile, as that signal would have.
        fn drop(&mut self) {
            self.ends_process.store(true, Ordering::SeqCst);
            let arrived = self.arrived.swap(0, Ordering::SeqCst);
            if let Ok(signal @ 1..) = i32::try_from(arrived) {
                let _ = low_level::emulate_default_handler(signal);
            }
        }
    }

    /// The signals that this process ignores, as a set of bits. Only Linux tells without unsafe code.
    fn ignored_signals() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default()
    }
}

/// On other platforms signals keep their effect.
#[cfg(not(unix))]
pub(super) struct Hold;

#[cfg(not(unix))]
impl Hold {
    pub(super) const fn new() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "it has something to do on Unix")]
    pub(super) const fn begin(&self) {}
}
