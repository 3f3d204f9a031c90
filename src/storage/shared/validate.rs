//! Checks of whole rows, and of all of a segment. They read only.

use std::collections::HashSet;

use super::{
    blocks::groups,
    layout::{GROUP, NONE, Row, State, sections},
    memory::Memory,
    view::{BUCKETS, Checked, Fault, View},
};
use crate::{
    extras,
    value::{Kind, Value},
};

/// A bit for each block, in the memory of this process.
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(count: u32) -> Checked<Self> {
        let mut words = Vec::new();
        let len = count as usize / 64 + 1;
        words.try_reserve_exact(len).map_err(|_| Fault::Memory)?;
        words.resize(len, 0);
        Ok(Self(words))
    }

    pub(super) fn has(&self, bit: u32) -> bool {
        self.0
            .get(bit as usize / 64)
            .is_some_and(|word| word & 1 << (bit % 64) != 0)
    }

    /// Ignores a bit beyond the last: a process that writes without the lock has changed a number after it was checked.
    pub(super) fn set(&mut self, bit: u32) {
        if let Some(word) = self.0.get_mut(bit as usize / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    /// 64 bits, which begin with the bit `64 * word`.
    pub(super) fn word(&self, word: u32) -> u64 {
        self.0.get(word as usize).copied().unwrap_or(0)
    }

    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }

    /// One more than the highest bit that is set.
    pub(super) fn end(&self) -> u32 {
        let last = self.0.iter().rposition(|word| *word != 0);
        last.map_or(0, |at| at as u32 * 64 + 64 - self.0[at].leading_zeros())
    }
}

impl<M: Memory> View<M> {
    /// Marks the blocks of a row; `false` where its chain is broken, or touches one that another row has.
    pub(super) fn claim(&self, row: &Row, taken: &mut Bits, contested: &mut Bits) -> bool {
        let Ok((_, count)) = self.extent(row) else {
            return false;
        };
        let mut at = row.first.get();
        for _ in 0..count {
            let Ok(block) = self.block_at(at) else {
                return false;
            };
            if at >= self.header().blocks_used.get() {
                return false;
            }
            if taken.has(at) {
                contested.set(at);
                return false;
            }
            taken.set(at);
            at = block.link.get();
        }
        at == NONE
    }

    /// Whether a row's key has its hash, and its value is one. The chain of its blocks was walked before.
    pub(super) fn makes_sense(&self, row: &Row, buffer: &mut Vec<u8>) -> Checked<bool> {
        let Some(kind) = row.state().kind() else {
            return Ok(false);
        };
        let (key_len, value_len) = (row.key_len.get() as usize, row.value_len.get() as usize);
        let has_extras = row.state().has_extras();
        if !kind.has_bytes() && value_len > 0 && !has_extras {
            return Ok(false);
        }
        // Only JSON text has to be read to know whether it is a value: it must be UTF-8.
        let used = match kind {
            _ if has_extras => key_len + value_len,
            Kind::Json => key_len + value_len,
            _ => key_len,
        };
        let bytes = self.read(row, used, buffer)?;
        let (key, mut value) = bytes.split_at(key_len);
        if has_extras {
            match extras::split(value) {
                Some((head, extras, rest))
                    if head.len == extras.stored_len() && (kind.has_bytes() || rest.is_empty()) =>
                {
                    value = rest;
                }
                _ => return Ok(false),
            }
        }
        Ok(self.hash(key) == row.hash.get() && Value::from_parts(kind, row.inline.get(), value).is_some())
    }

    /// The first `len` bytes of a row's chain.
    pub(super) fn read<'a>(&self, row: &Row, len: usize, buffer: &'a mut Vec<u8>) -> Checked<&'a [u8]> {
        buffer.clear();
        buffer.try_reserve(len).map_err(|_| Fault::Memory)?;
        buffer.resize(len, 0);
        self.copy_out(row.first.get(), 0, buffer)?;
        Ok(buffer)
    }

    /// Whether `is` holds for any block of a row.
    pub(super) fn any_block(&self, row: &Row, mut is: impl FnMut(u32) -> bool) -> bool {
        let Ok((_, count)) = self.extent(row) else {
            return false;
        };
        let mut at = row.first.get();
        for _ in 0..count {
            let Ok(block) = self.block_at(at) else {
                return false;
            };
            if is(at) {
                return true;
            }
            at = block.link.get();
        }
        false
    }

    /// Walks every structure and compares each with the others.
    ///
    /// # Errors
    /// Says what does not fit.
    pub(super) fn validate(&self) -> Result<(), String> {
        let header = self.header();
        let fault = |what: &'static str| move |_: Fault| what.to_owned();
        let check = |holds: bool, what: &dyn Fn() -> String| if holds { Ok(()) } else { Err(what()) };
        let (rows, blocks, len) = (header.rows_used.get(), header.blocks_used.get(), header.len.get());
        check((1..=self.geometry.rows_max).contains(&rows), &|| {
            format!("rows_used {rows}")
        })?;
        check((1..=self.geometry.blocks_max).contains(&blocks), &|| {
            format!("blocks_used {blocks}")
        })?;
        check(rows <= self.rows_written().max(1), &|| {
            format!("no memory behind {rows} rows")
        })?;
        check(blocks <= self.blocks_written().max(1), &|| {
            format!("no memory behind {blocks} blocks")
        })?;
        check(rows <= header.rows_ready.get().max(1), &|| {
            format!("rows_ready below {rows}")
        })?;
        check(blocks <= header.blocks_ready.get().max(1), &|| {
            format!("blocks_ready below {blocks}")
        })?;
        check(
            blocks == 1 || sections(blocks) <= header.sections_ready.get(),
            &|| format!("sections_ready below {blocks} blocks"),
        )?;
        let buckets = header.buckets.get();
        check((BUCKETS..=header.buckets_ready.get()).contains(&buckets), &|| {
            format!("buckets {buckets}")
        })?;

        // Rows.
        let (mut live, mut released, mut free) = (HashSet::new(), HashSet::new(), HashSet::new());
        for at in 1..rows {
            let set = match self.row_at(at).map_err(fault("row"))?.state().is() {
                State::LIVE => &mut live,
                State::RELEASED => &mut released,
                State::FREE => &mut free,
                other => return Err(format!("row {at} is {other}")),
            };
            set.insert(at);
        }
        check(live.len() == len as usize, &|| {
            format!("{} rows are entries, len is {len}", live.len())
        })?;

        // Versions: each entry has one, and nothing else has one. (Damage may have given two rows the same one, which is
        // harmless: a version is always compared for a certain row.)
        let last = header.last_version.get();
        check(rows <= header.versions_ready.get().max(1), &|| {
            format!("versions_ready below {rows}")
        })?;
        for at in 1..rows {
            let version = self.version_at(at).map_err(fault("version"))?.get();
            let holds = match live.contains(&at) {
                true => (1.0..=last).contains(&version) && version > header.floor.get(),
                false => version == 0.0,
            };
            check(holds, &|| {
                format!("row {at} has version {version}, the last is {last}")
            })?;
        }

        let is_slot = |at: &&u32| {
            self.row_at(**at)
                .is_ok_and(|row| row.state().kind() == Some(Kind::Slot))
        };
        check(
            live.iter().filter(is_slot).count() == header.slots.get() as usize,
            &|| format!("{} entries are slots, it says", header.slots.get()),
        )?;

        // The index: each entry once, in its bucket, and no key twice.
        let (mut indexed, mut keys) = (HashSet::new(), HashSet::new());
        let mut buffer = Vec::new();
        for bucket in 0..buckets {
            let mut at = self.bucket_at(bucket).map_err(fault("bucket"))?.get();
            while at != NONE {
                check(live.contains(&at), &|| {
                    format!("row {at} in bucket {bucket} is no entry")
                })?;
                check(indexed.insert(at), &|| format!("row {at} is twice in the index"))?;
                let row = self.row_at(at).map_err(fault("row"))?;
                let hash = row.hash.get();
                check(Self::bucket_of(hash, buckets) == bucket, &|| {
                    format!("row {at} in bucket {bucket}")
                })?;
                check(
                    self.makes_sense(row, &mut buffer).map_err(fault("entry"))?,
                    &|| format!("row {at}"),
                )?;
                let key = self
                    .read(row, row.key_len.get() as usize, &mut buffer)
                    .map_err(fault("key"))?;
                check(keys.insert(key.to_vec()), &|| {
                    format!("row {at} has a key that another has")
                })?;
                at = row.chain.get();
            }
        }
        check(indexed.len() == live.len(), &|| {
            "an entry is not in the index".into()
        })?;

        // Recency, both ways, and times of use that do not rise.
        let (mut newer, mut at, mut count, mut last) = (NONE, header.newest.get(), 0, u64::MAX);
        while at != NONE {
            check(live.contains(&at), &|| {
                format!("row {at} in the order is no entry")
            })?;
            let row = self.row_at(at).map_err(fault("row"))?;
            check(row.newer.get() == newer, &|| {
                format!("row {at} does not lead back")
            })?;
            check(row.used.get() <= last, &|| {
                format!("row {at} was used after the one before it")
            })?;
            last = row.used.get();
            count += 1;
            check(count <= len, &|| "the order goes in a circle".into())?;
            (newer, at) = (at, row.older.get());
        }
        check(count == len && header.oldest.get() == newer, &|| {
            "the order has not every entry".into()
        })?;

        // Lists of rows.
        for (name, head, set) in [
            ("free", &header.free_row, &free),
            ("released", &header.released, &released),
        ] {
            let (mut at, mut walked) = (head.get(), HashSet::new());
            while at != NONE {
                check(set.contains(&at) && walked.insert(at), &|| {
                    format!("row {at} on the list of {name} rows")
                })?;
                at = self.row_at(at).map_err(fault("row"))?.chain.get();
            }
            check(walked.len() == set.len(), &|| {
                format!("a {name} row is not on its list")
            })?;
        }

        check(
            header.intent.check.get() == 0
                && header.loose_block.get() == NONE
                && header.loose_count.get() == 0,
            &|| "a change is not completed, or blocks are loose".into(),
        )?;

        // Blocks: an entry's or free, one of the two.
        let (mut taken, mut contested) = (
            Bits(vec![0; blocks as usize / 64 + 1]),
            Bits(vec![0; blocks as usize / 64 + 1]),
        );
        for at in &live {
            let row = self.row_at(*at).map_err(fault("row"))?;
            check(self.claim(row, &mut taken, &mut contested), &|| {
                format!("the blocks of row {at}")
            })?;
        }
        let mut free = 0;
        for group in 0..groups(blocks) {
            let holds = self.is_summed_up(group).map_err(fault("section"))?;
            check(holds, &|| format!("no summary leads to group {group}"))?;
            let bits = self.free_of(group).map_err(fault("section"))?.get();
            for at in (0..GROUP).filter(|bit| bits & 1 << bit != 0) {
                let at = group * GROUP + at;
                check((1..blocks).contains(&at) && !taken.has(at), &|| {
                    format!("block {at} is free and is not")
                })?;
                taken.set(at);
                free += 1;
            }
        }
        check(free == header.blocks_free.get(), &|| {
            format!("{free} blocks are free, not as counted")
        })?;
        let missing = (1..blocks).find(|at| !taken.has(*at));
        check(missing.is_none(), &|| format!("block {missing:?} is nobody's"))
    }
}
