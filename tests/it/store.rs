//! The token store in a file.

#[cfg(target_os = "linux")]
mod concurrency;
#[cfg(target_os = "linux")]
mod containers;
#[cfg(target_os = "linux")]
mod editing;
#[cfg(target_os = "linux")]
mod editors;
mod fields;
mod file;
mod format;
mod model;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod races;
#[cfg(target_os = "linux")]
mod revocation;
mod trust;
mod undo_rotation;
mod unknown;

#[cfg(target_os = "linux")]
pub use self::trust::without_descriptors;
