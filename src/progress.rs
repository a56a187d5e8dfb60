//! How far a long call has come, for whoever wants to watch.

use std::fmt;
use std::sync::Arc;

/// How far a long call has come.
///
/// A call that takes a while shows this to the function given as its `on_progress`, a few times a second and once more at its end. The
/// function may be called from any thread, but never twice at the same time; it should return soon, because the work waits for it.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Which part of the whole is done, from 0 to 1, where that is known.
    pub fraction: Option<f64>,
    /// Bytes of content that have been moved.
    pub bytes_done: u64,
    /// Bytes of content in all, where that is known.
    pub bytes_total: Option<u64>,
    /// Files that are complete.
    pub files_done: u64,
    /// Files in all, where that is known.
    pub files_total: Option<u64>,
}

/// What is called with each [`Progress`]; the default calls nothing.
#[derive(Clone, Default)]
pub(crate) struct Observer(Option<Arc<dyn Fn(&Progress) + Send + Sync>>);

impl Observer {
    pub(crate) fn new(function: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(function)))
    }

    pub(crate) fn show(&self, progress: &Progress) {
        if let Some(function) = &self.0 {
            function(progress);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer" } else { "None" })
    }
}
