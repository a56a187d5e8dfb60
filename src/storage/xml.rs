//! The little XML that object stores speak: elements with text or elements in them.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::error::{Error, ErrorKind, Result};

/// Elements within elements: no answer that makes sense goes deeper.
const DEPTH: usize = 16;

/// An element with what is in it; attributes and namespaces are left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) text: String,
    children: Vec<Element>,
}

impl Element {
    /// The document's outermost element.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            Error::new(
                ErrorKind::InvalidResponse,
                format!("the answer of the storage is not the XML that was expected: {why}"),
            )
        };
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        let mut open = vec![Self::default()];
        loop {
            let event = reader
                .read_event()
                .map_err(|error| invalid(&error.to_string()))?;
            let innermost = open.last_mut().ok_or_else(|| invalid("it ends twice"))?;
            match event {
                Event::Start(start) => {
                    if open.len() > DEPTH {
                        return Err(invalid("it is nested too deep"));
                    }
                    open.push(Self::named(start.local_name().as_ref()));
                }
                Event::Empty(start) => innermost
                    .children
                    .push(Self::named(start.local_name().as_ref())),
                Event::End(_) => {
                    if let (Some(done), Some(parent)) = (open.pop(), open.last_mut()) {
                        parent.children.push(done);
                    }
                }
                Event::Text(text) => innermost.text += &text.xml10_content(),
                Event::CData(text) => innermost.text += &text.xml10_content(),
                Event::GeneralRef(reference) => innermost.text.push(
                    match &*reference {
                        "amp" => Some('&'),
                        "lt" => Some('<'),
                        "gt" => Some('>'),
                        "quot" => Some('"'),
                        "apos" => Some('\''),
                        _ => reference.resolve_char_ref().ok().flatten(),
                    }
                    .ok_or_else(|| invalid("it has a reference without meaning"))?,
                ),
                Event::Eof => break,
                _ => {}
            }
        }
        match <[Self; 1]>::try_from(open) {
            Ok([mut document]) if document.children.len() == 1 => {
                Ok(document.children.swap_remove(0))
            }
            _ => Err(invalid("it is not one whole element")),
        }
    }

    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// The elements of that name in this one.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first element of that name in this one.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first element of that name in this one.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <IsTruncated>false</IsTruncated><Empty/>
              <Contents><Key>a &amp; b&#x2F;&#99;&lt;&gt;</Key><ETag>&quot;e&quot;</ETag></Contents>
              <Contents><Key><![CDATA[x & y]]></Key></Contents>
            </ListBucketResult>"#;
        let list = Element::parse(text).unwrap();
        assert_eq!(list.name, "ListBucketResult");
        assert_eq!(list.text_of("IsTruncated"), Some("false"));
        assert_eq!(list.text_of("Empty"), Some(""));
        assert_eq!(list.text_of("NextMarker"), None);
        let keys: Vec<_> = list
            .all("Contents")
            .map(|c| c.text_of("Key").unwrap())
            .collect();
        assert_eq!(keys, ["a & b/c<>", "x & y"]);
        assert_eq!(
            list.child("Contents").unwrap().text_of("ETag"),
            Some("\"e\"")
        );
    }

    #[test]
    fn what_is_no_xml_is_an_error() {
        let deep = "<a>".repeat(100) + &"</a>".repeat(100);
        for text in [
            "",
            "{}",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<a>&nope;</a>",
            "<a>&",
            &deep,
            "<html><p>hello</html>",
        ] {
            let error = Element::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{text}");
        }
    }
}
