//! Records `tracing` events of the current thread, and those of stores, which may come from other threads.
//!
//! One global subscriber records for the threads that asked for it. Thread-local subscribers are not enough:
//! on a thread without one, `tracing` may cache that no subscriber is interested.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, Once};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// One event or span: its level, target and fields, as text.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub level: String,
    pub target: String,
    pub fields: BTreeMap<&'static str, String>,
}

impl Recorded {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

thread_local! {
    static RECORDER: RefCell<Option<Rc<RefCell<Vec<Recorded>>>>> = const { RefCell::new(None) };
}

/// The events that name a store, from all threads.
static OF_STORES: Mutex<Vec<Recorded>> = Mutex::new(Vec::new());

/// The events of streams that ended, which come from the thread that watches them.
static OF_STREAMS: Mutex<Vec<Recorded>> = Mutex::new(Vec::new());

/// Takes the recorded events that name this store.
pub fn take_of_store(path: &Path) -> Vec<Recorded> {
    let path = path.to_str();
    OF_STORES.lock().unwrap().extract_if(.., |event| event.field("store") == path).collect()
}

/// Takes the recorded events of streams that ended with this token.
pub fn take_of_streams(token: &str) -> Vec<Recorded> {
    let is_of_token = |event: &mut Recorded| event.field("token") == Some(token);
    OF_STREAMS.lock().unwrap().extract_if(.., is_of_token).collect()
}

/// Blocks the subscriber in each event of a stream that ended, until the guard is dropped.
pub fn block_streams() -> MutexGuard<'static, Vec<Recorded>> {
    install();
    OF_STREAMS.lock().unwrap()
}

/// Installs the subscriber of all threads.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(ThreadRecorder);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

pub struct Recorder(Rc<RefCell<Vec<Recorded>>>);

impl Recorder {
    /// Records all events of this thread, at every level, until the recorder is dropped.
    pub fn start() -> Self {
        install();
        let recorded = Rc::default();
        RECORDER.set(Some(Rc::clone(&recorded)));
        Self(recorded)
    }

    pub fn take(&self) -> Vec<Recorded> {
        self.0.take()
    }

    /// The events of the library itself.
    pub fn take_own(&self) -> Vec<Recorded> {
        let own = |recorded: &Recorded| recorded.target.starts_with("opencode_auth");
        self.take().into_iter().filter(own).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        RECORDER.set(None);
    }
}

fn record(metadata: &Metadata<'_>, visit: impl FnOnce(&mut Fields)) {
    let mut fields = Fields::default();
    visit(&mut fields);
    let recorded = Recorded {
        level: metadata.level().to_string(),
        target: metadata.target().to_owned(),
        fields: fields.0,
    };
    if recorded.field("store").is_some() {
        OF_STORES.lock().unwrap().push(recorded.clone());
    }
    if recorded.field("message") == Some("open streams ended with their token") {
        OF_STREAMS.lock().unwrap().push(recorded.clone());
    }
    let Some(recorder) = RECORDER.with_borrow(Clone::clone) else { return };
    recorder.borrow_mut().push(recorded);
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

struct ThreadRecorder;

impl<S: Subscriber> Layer<S> for ThreadRecorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        record(event.metadata(), |fields| event.record(fields));
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        record(attributes.metadata(), |fields| attributes.record(fields));
    }
}
