//! Lists that the master gives page by page.

use std::fmt;
use std::iter::FusedIterator;
use std::vec;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::request::Request;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::exact;

/// A master's word is taken for the length of a list up to here.
const MOST_ROOM: usize = 100_000;
/// So many pages may be empty, one after the other, though there are said to be more objects.
const MOST_EMPTY_PAGES: u32 = 100;

/// Where a page stands in its list.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pagination {
    #[serde(default, deserialize_with = "exact")]
    end_index: i64,
    #[serde(default, deserialize_with = "exact")]
    total: i64,
}

/// Fetches the page at an offset.
type FetchPage<T> = dyn FnMut(i64) -> Result<(Vec<T>, Pagination)> + Send;

/// The objects of a list, fetched page by page as they are needed.
///
/// Holds one page. The first page is fetched by the call that makes the iterator, so bad arguments and missing rights show there; a later
/// failure comes as an `Err` item, after which the iterator is at its end.
///
/// ```
/// # let master = determined::testing::MockMaster::start();
/// # let client = master.determined();
/// # master.experiment().create();
/// use determined::ExperimentQuery;
///
/// let mut pages = client.iter_experiments_with(ExperimentQuery::new().page_size(20))?;
/// let first = pages.next().transpose()?;
/// assert_eq!(first.map(|experiment| experiment.id), Some(1));
/// # Ok::<(), determined::Error>(())
/// ```
pub struct Pages<T> {
    fetch: Box<FetchPage<T>>,
    page: vec::IntoIter<T>,
    /// The offset of the next page, while there is one.
    next: Option<i64>,
    /// How many objects the whole list has, by the last page's account.
    total: usize,
}

impl<T> Pages<T> {
    /// Fetches the first page. `request` is the listing without its offset, `key` is where its answer has the list, and `make` makes an
    /// object of what stands there.
    pub(crate) fn start<B: DeserializeOwned>(
        request: Request,
        key: &'static str,
        mut make: impl FnMut(B) -> T + Send + 'static,
    ) -> Result<Self> {
        Self::start_filtered(request, key, move |body| Some(make(body)))
    }

    /// Like [`start`](Self::start), but leaves out what `make` makes nothing of.
    pub(crate) fn start_filtered<B: DeserializeOwned>(
        request: Request,
        key: &'static str,
        mut make: impl FnMut(B) -> Option<T> + Send + 'static,
    ) -> Result<Self> {
        let mut empty_pages = 0;
        let fetch = move |offset: i64| {
            let fetched = request.clone().query("offset", offset).fetch_page(key);
            let (items, place): (Vec<B>, _) = match fetched {
                Err(error) if offset > 0 && says_beyond_end(&error) => {
                    (Vec::new(), Pagination::default())
                }
                other => other?,
            };
            empty_pages = if items.is_empty() { empty_pages + 1 } else { 0 };
            let stands_still = place.end_index <= offset || empty_pages > MOST_EMPTY_PAGES;
            if place.end_index < place.total && stands_still {
                return Err(request.explain(Error::new(
                    ErrorKind::InvalidResponse,
                    format!(
                        "the list does not advance: the page at offset {offset} ends at {} of {}",
                        place.end_index, place.total
                    ),
                )));
            }
            Ok((items.into_iter().filter_map(&mut make).collect(), place))
        };
        let mut pages = Self {
            fetch: Box::new(fetch),
            page: Vec::new().into_iter(),
            next: Some(0),
            total: 0,
        };
        pages.turn()?;
        Ok(pages)
    }

    /// All objects, in room that is taken once.
    pub(crate) fn into_vec(self) -> Result<Vec<T>> {
        let mut all = Vec::with_capacity(self.total.min(MOST_ROOM));
        for item in self {
            all.push(item?);
        }
        Ok(all)
    }

    /// Fetches the next page, if there is one.
    fn turn(&mut self) -> Result<()> {
        let Some(offset) = self.next.take() else {
            return Ok(());
        };
        let (items, place) = (self.fetch)(offset)?;
        self.page = items.into_iter();
        self.next = (place.end_index < place.total).then_some(place.end_index);
        self.total = usize::try_from(place.total).unwrap_or_default();
        Ok(())
    }
}

/// Whether a list has become shorter since its last page, so that it ends before the next one would begin.
fn says_beyond_end(error: &Error) -> bool {
    let said = error.server_message().unwrap_or_default();
    error.status() == Some(400) && said.contains("offset out of bounds")
}

impl<T> Iterator for Pages<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.page.next() {
                return Some(Ok(item));
            }
            self.next?;
            if let Err(error) = self.turn() {
                return Some(Err(error));
            }
        }
    }
}

impl<T> FusedIterator for Pages<T> {}

impl<T> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("fetched", &self.page.len())
            .field("next_offset", &self.next)
            .finish()
    }
}
