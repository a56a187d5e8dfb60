//! A request as it goes out, in plain words.

use std::borrow::Cow;
use std::io::Read;

/// The methods that the master's API uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One request, as it goes out.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: &'a [(&'static str, Cow<'a, str>)],
    pub(crate) body: Payload<'a>,
    pub(crate) patience: Patience,
}

/// For how long an answer may keep its reader waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As the read timeout says, and no answer may drip.
    Limited,
    /// As long as it likes once its head is there: a log that is followed further.
    OnceBegun,
    /// As long as it likes: a log that is followed, whose head comes with its first entry.
    Unlimited,
}

/// What a request carries.
pub(crate) enum Payload<'a> {
    Empty,
    Bytes(&'a [u8]),
    /// Sent in chunks as it is read, so that it never stands in memory whole.
    Stream(Box<dyn Read + Send>),
}
