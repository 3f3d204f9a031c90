//! What an entry may have besides key, value and stamp: its extras. An entry without extras costs nothing for them. So far
//! these are its tags.
//!
//! A storage counts invalidations: each call of `invalidateTags` is one, and has the count of that moment as its number. The
//! storage keeps for a tag the number of its last invalidation, and for an entry with tags the count at the moment at which it
//! was stored. [`is_outdated`] says what follows.
//!
//! In a segment the extras lie between key and value, in this form ([`write`], [`Head`], [`split`]):
//!
//! | bytes | |
//! |---|---|
//! | 4 | the length of all extras, in bytes |
//! | 2 | a bit for each further part of the extras: none so far, and another bit is damage. A part lies behind the hashes |
//! | 2 | the number of tags |
//! | 8 | the count of invalidations when the entry was stored |
//! | 8 a tag | the hashes of the tags |
//! | rest | the tags, as in [`Tags`] |

use serde_json::Value as Json;

use crate::error::{Error, Result};

/// The most tags of an entry, and of a call.
pub const MOST_TAGS: usize = 128;

/// The most characters of a tag, in units of UTF-16.
pub const LONGEST_TAG: usize = 1024;

/// The bytes of [`Head`].
pub const HEAD: usize = 16;

/// The bytes of the hash of a tag.
pub const HASH: usize = size_of::<u64>();

/// The bytes of the length of a tag.
const LENGTH: usize = size_of::<u16>();

/// Tags, one after the other: each its length in 2 bytes, then its text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tags<'a>(&'a [u8]);

impl<'a> Tags<'a> {
    /// The tags in these bytes.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Their bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The text of each. Bytes that are damaged end it early.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let length = *rest.first_chunk::<LENGTH>()?;
            let (tag, after) = rest[LENGTH..].split_at_checked(u16::from_le_bytes(length).into())?;
            rest = after;
            Some(tag)
        })
    }
}

/// Tags that a command carries, or that a storage keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TagList(Box<[u8]>);

impl TagList {
    /// Reads a list of tags.
    ///
    /// # Errors
    /// Says what is no tag, or that there are too many.
    ///
    /// ```
    /// use lru_cache_for_clusters::extras::TagList;
    /// let tags = TagList::parse(&serde_json::json!(["a", "b"])).unwrap();
    /// assert!(tags.tags().iter().eq([b"a", b"b"]));
    /// assert!(TagList::parse(&serde_json::json!([1])).is_err());
    /// ```
    pub fn parse(given: &Json) -> Result<Self> {
        let Json::Array(list) = given else {
            return Err(Error::argument("tags must be a list of strings"));
        };
        if list.len() > MOST_TAGS {
            return Err(Error::argument(format!(
                "at most {MOST_TAGS} tags are possible, got {}",
                list.len()
            )));
        }
        let mut bytes = Vec::new();
        for tag in list {
            let text = tag
                .as_str()
                .ok_or_else(|| Error::argument("a tag must be a string"))?;
            if text.len() > LONGEST_TAG && text.encode_utf16().count() > LONGEST_TAG {
                return Err(Error::argument(format!(
                    "a tag must have at most {LONGEST_TAG} characters"
                )));
            }
            // A character of UTF-16 has 3 bytes at the most.
            let length = text.len() as u16;
            bytes.try_reserve(LENGTH + text.len())?;
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        Ok(Self(bytes.into()))
    }

    /// A copy of tags.
    pub fn copy(tags: Tags<'_>) -> Self {
        Self(tags.0.into())
    }

    /// The tags.
    pub fn tags(&self) -> Tags<'_> {
        Tags(&self.0)
    }
}

/// What an entry has besides key, value and stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extras<'a> {
    /// Its tags.
    pub tags: Tags<'a>,
}

impl Extras<'_> {
    /// Nothing.
    pub const NONE: Self = Self { tags: Tags(&[]) };

    /// Whether there is nothing.
    #[inline(always)]
    pub fn is_none(&self) -> bool {
        self.tags.is_empty()
    }

    /// The bytes that [`write`] writes; 0 for nothing.
    #[inline(always)]
    pub fn stored_len(&self) -> usize {
        match self.is_none() {
            true => 0,
            false => HEAD + HASH * self.tags.iter().count() + self.tags.bytes().len(),
        }
    }
}

/// Whether an entry that was stored when the count of invalidations was `since` has been invalidated: whether any of the
/// numbers of the last invalidations of its tags is above `since`.
pub fn is_outdated(since: u64, invalidated: impl IntoIterator<Item = u64>) -> bool {
    invalidated.into_iter().any(|number| number > since)
}

/// Writes extras into `out`, which is as long as [`Extras::stored_len`] says.
pub fn write(extras: Extras<'_>, since: u64, hash: impl Fn(&[u8]) -> u64, out: &mut [u8]) {
    let count = extras.tags.iter().count();
    let (head, rest) = out.split_at_mut(HEAD);
    head[..4].copy_from_slice(&(extras.stored_len() as u32).to_le_bytes());
    head[4..6].fill(0);
    head[6..8].copy_from_slice(&(count as u16).to_le_bytes());
    head[8..].copy_from_slice(&since.to_le_bytes());
    let (hashes, texts) = rest.split_at_mut(HASH * count);
    for (out, tag) in hashes.chunks_exact_mut(HASH).zip(extras.tags.iter()) {
        out.copy_from_slice(&hash(tag).to_le_bytes());
    }
    texts.copy_from_slice(extras.tags.bytes());
}

/// The first bytes of extras that were written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// The length of all extras, in bytes.
    pub len: usize,
    /// The number of tags.
    pub tags: usize,
    /// The count of invalidations when the entry was stored.
    pub since: u64,
}

impl Head {
    /// Reads it. `None` where the bytes are damaged: what it says does not fit in the `room` there is.
    pub fn read(bytes: &[u8; HEAD], room: usize) -> Option<Self> {
        let (len, rest) = bytes.split_first_chunk()?;
        let (parts, rest) = rest.split_first_chunk()?;
        let (tags, rest) = rest.split_first_chunk()?;
        let head = Self {
            len: u32::from_le_bytes(*len) as usize,
            tags: u16::from_le_bytes(*tags).into(),
            since: u64::from_le_bytes(*rest.first_chunk()?),
        };
        let is_whole = u16::from_le_bytes(*parts) == 0
            && (1..=MOST_TAGS).contains(&head.tags)
            && (head.texts_at()..=room).contains(&head.len);
        is_whole.then_some(head)
    }

    /// Where the tags begin.
    pub fn texts_at(&self) -> usize {
        HEAD + HASH * self.tags
    }
}

/// The hashes in bytes that were written.
pub fn hashes(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks().0.iter().map(|hash| u64::from_le_bytes(*hash))
}

/// Takes extras, and the value behind them, out of bytes that begin with extras. `None` where they are damaged.
pub fn split(bytes: &[u8]) -> Option<(Head, Extras<'_>, &[u8])> {
    let head = Head::read(bytes.first_chunk()?, bytes.len())?;
    let (extras, value) = bytes.split_at_checked(head.len)?;
    let tags = Tags(extras.get(head.texts_at()..)?);
    Some((head, Extras { tags }, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list(tags: &[&str]) -> TagList {
        TagList::parse(&json!(tags)).unwrap()
    }

    fn written(tags: &TagList, value: &[u8]) -> Vec<u8> {
        let extras = Extras { tags: tags.tags() };
        let mut bytes = vec![0; extras.stored_len()];
        write(extras, 7, |tag| tag.len() as u64, &mut bytes);
        bytes.extend_from_slice(value);
        bytes
    }

    #[test]
    fn extras_come_back_as_they_were_written() {
        let long = "ä".repeat(LONGEST_TAG);
        let tags = list(&["a", "", &long]);
        let bytes = written(&tags, b"value");
        let (head, extras, value) = split(&bytes).unwrap();
        assert_eq!((head.since, head.tags, value), (7, 3, &b"value"[..]));
        assert_eq!(extras.tags, tags.tags());
        let hashed = &bytes[HEAD..head.texts_at()];
        assert!(hashes(hashed).eq([1, 0, 2048]));
        assert_eq!(Extras::NONE.stored_len(), 0);
    }

    #[test]
    fn damaged_extras_are_told() {
        let bytes = written(&list(&["a", "bc"]), b"");
        for length in 0..bytes.len() {
            assert_eq!(split(&bytes[..length]), None, "{length} bytes");
        }
        for at in 0..8 {
            for value in [0xFF, 0x80] {
                let mut damaged = bytes.clone();
                damaged[at] ^= value;
                assert_eq!(split(&damaged), None, "byte {at}");
            }
        }
        // A length of a text that leads beyond the end.
        let mut damaged = bytes;
        let at = damaged.len() - 4;
        damaged[at] = 200;
        let (_, extras, _) = split(&damaged).unwrap();
        assert!(extras.tags.iter().eq([b"a"]));
    }

    #[test]
    fn what_is_no_list_of_tags_is_named() {
        let message = |given: Json| TagList::parse(&given).unwrap_err().into_message();
        assert_eq!(message(json!("a")), "tags must be a list of strings");
        assert_eq!(message(json!(["a", 1])), "a tag must be a string");
        assert_eq!(
            message(json!(vec!["a"; 129])),
            "at most 128 tags are possible, got 129"
        );
        assert_eq!(
            message(json!(["x".repeat(1025)])),
            "a tag must have at most 1024 characters"
        );
        assert!(TagList::parse(&json!(["😀".repeat(512)])).is_ok());
        assert!(TagList::parse(&json!(["😀".repeat(513)])).is_err());
        assert!(list(&[]).tags().is_empty());
    }

    #[test]
    fn an_entry_is_outdated_by_a_later_invalidation_of_any_tag() {
        assert!(!is_outdated(3, [0, 3]));
        assert!(is_outdated(3, [0, 4]));
        assert!(!is_outdated(0, []));
    }
}
