//! How far a long call has come, for whoever wants to watch.

use std::fmt;
use std::sync::Arc;

/// How far a long call has come.
///
/// A call that takes a while shows this to the function given as its `on_progress`, a few times a second and once more at its end. The
/// function may be called from any thread, but never twice at the same time; it should return soon, because the work waits for it.
///
/// ```
/// use determined::{DownloadOptions, Progress};
///
/// fn show(progress: &Progress) {
///     match progress.fraction {
///         Some(fraction) => eprintln!("{:.0} %", 100.0 * fraction),
///         None => eprintln!("{} bytes", progress.bytes_done),
///     }
/// }
/// let options = DownloadOptions::new().on_progress(show);
/// # let _ = options;
/// ```
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

/// What is called with each event of a long call, usually a [`Progress`]; the default calls nothing.
pub(crate) struct Observer<E = Progress>(Option<Arc<Watch<E>>>);

type Watch<E> = dyn Fn(&E) + Send + Sync;

impl<E> Observer<E> {
    pub(crate) fn new(function: impl Fn(&E) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(function)))
    }

    pub(crate) fn show(&self, event: &E) {
        if let Some(function) = &self.0 {
            function(event);
        }
    }
}

impl<E> Clone for Observer<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E> Default for Observer<E> {
    fn default() -> Self {
        Self(None)
    }
}

impl<E> fmt::Debug for Observer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer" } else { "None" })
    }
}
