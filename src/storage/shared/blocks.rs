//! Which blocks are free. Each group of 64 blocks has a word in a section with a bit for each of its blocks that is free.
//! These words change through records. Rows decide which blocks are in use; the rebuild makes the words anew from them.
//!
//! Summaries lead to groups with free blocks: one to those that are free in part, one to those that are wholly free. They
//! have three levels: a bit a group, a bit a word of the first level, a bit a word of the second. A search looks at a word
//! or two of each level, and at 128 words of the last one at most, however large the segment is.
//!
//! - **A summary says at least what there is.** A bit is set before the change that makes it right is committed, from the
//!   last level to the first; it is cleared after the change that makes it wrong, from the first to the last. So no record
//!   has summaries. A kill leaves bits too many, and the search that meets one clears it.
//! - A short entry takes blocks of groups that are free in part, first of the group where blocks were taken or freed last:
//!   these lie in the cache of the processor. A long one takes wholly free groups, then others in the order of their
//!   numbers. So its blocks follow each other in memory, or lie in ascending order. Blocks that were never used come last,
//!   but where few blocks are free a very long entry takes them before the gaps of others.
//! - An entry whose blocks lie in many groups gets them, and gives them back, by several changes. Between these they are
//!   the loose blocks: a chain that no entry has.

use super::{
    intent::Change,
    layout::{Block, GROUP, GROUPS, INTENT_WORDS, Long, NONE, PAYLOAD, Word},
    memory::Memory,
    view::{Checked, Fault, View},
};

/// The most groups in which one change takes and frees blocks.
const TOUCHED: usize = 14;

/// The most of them in which a change takes blocks that also frees some.
const DIRECT: usize = TOUCHED / 2;

/// From so many blocks on, what is left of an entry takes a wholly free group rather than the gaps of others.
const WHOLE_LEAST: u32 = 16;

/// From so many blocks on, an entry takes blocks that were never used rather than gaps, where less than `1 / GAPS` of the
/// blocks are free: its gaps would lie far apart.
const FRESH_LEAST: u32 = 1024;
const GAPS: u32 = 8;

/// The most wrong bits of a summary that a search clears. More are damage.
const WRONG: u32 = 4096;

const _: () = {
    // Besides two words a group, an insert stores at most 2 states, 2 links of chains, the word of the index, 4 of the order
    // of recency, and 8 lists and counts; an overwrite 9 of the row, 6 of the order of recency, and 4 counts.
    assert!(2 * TOUCHED + 9 + 8 <= INTENT_WORDS && 2 * TOUCHED + 9 + 6 + 4 <= INTENT_WORDS);
};

/// The groups that a summary leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Summary {
    /// Those that have free blocks, and others.
    Part = 0,
    /// Those whose blocks are all free.
    Whole = 1,
}

impl Summary {
    /// The summary that leads to a group with these free blocks.
    fn of(free: u64) -> Option<Self> {
        match free {
            0 => None,
            u64::MAX => Some(Self::Whole),
            _ => Some(Self::Part),
        }
    }
}

/// A search through all groups of a summary, once, from some group on.
struct Search {
    start: u32,
    at: u32,
    /// Whether it goes on from the first group.
    is_second: bool,
}

impl Search {
    fn new(start: u32) -> Self {
        Self {
            start,
            at: start,
            is_second: false,
        }
    }
}

/// What a change makes of the blocks, while it is being written.
pub(super) struct Blocks {
    used: u32,
    free: u32,
    loose_block: u32,
    loose_count: u32,
    /// Groups, and which of their blocks are free then: the first `touched_len` are in use.
    touched: [(u32, u64); TOUCHED],
    touched_len: usize,
    part: Search,
    whole: Search,
}

impl Blocks {
    fn touched(&self) -> &[(u32, u64)] {
        &self.touched[..self.touched_len]
    }

    /// The loose blocks become those of an entry.
    fn adopt_loose(&mut self) {
        (self.loose_block, self.loose_count) = (NONE, 0);
    }
}

/// Key and value on their way into blocks, which become a chain.
struct Filling<'a> {
    key: &'a [u8],
    value: &'a [u8],
    /// Blocks that are still to be taken.
    left: u32,
    /// Blocks that were taken.
    count: u32,
    first: u32,
    last: Option<&'a Word>,
}

impl<'a> Filling<'a> {
    /// Writes the next part into a block, and puts it at the end of the chain.
    #[inline(always)]
    fn write(&mut self, at: u32, block: &'a Block) {
        match self.value.split_first_chunk() {
            Some((payload, rest)) if self.key.is_empty() => {
                block.write_whole(payload);
                self.value = rest;
            }
            _ => {
                let (key, key_rest) = self.key.split_at(self.key.len().min(PAYLOAD));
                let (value, value_rest) = self.value.split_at(self.value.len().min(PAYLOAD - key.len()));
                block.write(key, value);
                (self.key, self.value) = (key_rest, value_rest);
            }
        }
        match self.last {
            Some(link) => link.set(at),
            None => self.first = at,
        }
        self.last = Some(&block.link);
    }
}

/// The groups of the first `used` blocks. Block 0 is no block.
pub(super) fn groups(used: u32) -> u32 {
    if used > 1 { used.div_ceil(GROUP) } else { 0 }
}

/// Whether an entry that wants so many blocks takes some that were never used before the gaps of others.
#[inline(always)]
pub(super) fn prefers_fresh(wanted: u32, free: u32, used: u32) -> bool {
    wanted >= FRESH_LEAST && free < used / GAPS
}

/// The first bit of a word that is set, from `from` on.
#[inline(always)]
fn bit_from(word: u64, from: u32) -> Option<u32> {
    let word = word & u64::MAX << from;
    (word != 0).then(|| word.trailing_zeros())
}

impl<M: Memory> View<M> {
    /// The blocks, as they are.
    #[inline(always)]
    pub(super) fn blocks(&self) -> Blocks {
        let header = self.header();
        let near = header.near_group.get();
        Blocks {
            used: header.blocks_used.get(),
            free: header.blocks_free.get(),
            loose_block: header.loose_block.get(),
            loose_count: header.loose_count.get(),
            touched: [(0, 0); TOUCHED],
            touched_len: 0,
            part: Search::new(near),
            whole: Search::new(near),
        }
    }

    /// Writes key and value into free blocks, `count` of them, for which there is memory. Returns the first. A long entry
    /// takes its blocks by changes of its own.
    #[inline(always)]
    pub(super) fn fill(&self, blocks: &mut Blocks, key: &[u8], value: &[u8], count: u32) -> Checked<u32> {
        let mut filling = Filling {
            key,
            value,
            left: count,
            count: 0,
            first: NONE,
            last: None,
        };
        self.fill_groups(blocks, &mut filling, DIRECT)?;
        if filling.left > 0 {
            self.fill_long(blocks, &mut filling)?;
        }
        if let Some(last) = filling.last {
            last.set(NONE);
        }
        Ok(filling.first)
    }

    #[cold]
    fn fill_long<'a>(&'a self, blocks: &mut Blocks, filling: &mut Filling<'a>) -> Checked<()> {
        if blocks.loose_block != NONE || blocks.loose_count != 0 {
            return Err(Fault::Damage);
        }
        loop {
            (blocks.loose_block, blocks.loose_count) = (filling.first, filling.count);
            self.commit_blocks(blocks)?;
            *blocks = self.blocks();
            if filling.left == 0 {
                break;
            }
            self.fill_groups(blocks, filling, TOUCHED)?;
        }
        blocks.adopt_loose();
        Ok(())
    }

    /// Fills free blocks of groups, until the change has touched `most` of them. Nobody follows the link of a free block, so
    /// no record has it.
    #[inline(always)]
    fn fill_groups<'a>(&'a self, blocks: &mut Blocks, filling: &mut Filling<'a>, most: usize) -> Checked<()> {
        while filling.left > 0 && blocks.touched_len < most {
            let (group, mut taken) = self.take(blocks, filling.left)?;
            let count = taken.count_ones();
            (filling.left, filling.count) = (filling.left - count, filling.count + count);
            while taken != 0 {
                let at = group * GROUP + taken.trailing_zeros();
                taken &= taken - 1;
                filling.write(at, self.block_at(at)?);
            }
        }
        Ok(())
    }

    /// Takes at most `wanted` blocks of a group that the change has not touched yet. Returns the group, and the blocks.
    #[inline(always)]
    fn take(&self, blocks: &mut Blocks, wanted: u32) -> Checked<(u32, u64)> {
        let (group, free) = self.choose(blocks, wanted)?;
        let mut rest = 0;
        if free.count_ones() > wanted {
            rest = free;
            for _ in 0..wanted {
                rest &= rest - 1;
            }
        }
        let taken = free ^ rest;
        blocks.free = blocks.free.checked_sub(taken.count_ones()).ok_or(Fault::Damage)?;
        self.touch(blocks, group, rest)?;
        Ok((group, taken))
    }

    /// The group to take `wanted` blocks of, and its free blocks.
    #[inline(always)]
    fn choose(&self, blocks: &mut Blocks, wanted: u32) -> Checked<(u32, u64)> {
        if wanted >= WHOLE_LEAST
            && let Some(found) = self.search(Summary::Whole, &mut blocks.whole, blocks.used)?
        {
            return Ok(found);
        }
        if prefers_fresh(wanted, blocks.free, blocks.used)
            && let Some(found) = self.fresh(blocks)
        {
            return Ok(found);
        }
        if let Some(found) = self.search(Summary::Part, &mut blocks.part, blocks.used)? {
            return Ok(found);
        }
        if wanted < WHOLE_LEAST
            && let Some(found) = self.search(Summary::Whole, &mut blocks.whole, blocks.used)?
        {
            return Ok(found);
        }
        self.fresh(blocks).ok_or(Fault::Damage)
    }

    /// The next group that was never used, where there is memory for it.
    fn fresh(&self, blocks: &mut Blocks) -> Option<(u32, u64)> {
        let (first, group) = (blocks.used, blocks.used / GROUP);
        let end = (u64::from(group) + 1) * u64::from(GROUP);
        let end = end.min(self.geometry.blocks_max.into()) as u32;
        let fits = first < end && end <= self.header().blocks_ready.get();
        if !fits || first % GROUP != u32::from(group == 0) {
            return None;
        }
        let free = u64::MAX >> (GROUP - (end - first)) << (first % GROUP);
        blocks.used = end;
        blocks.free = blocks.free.wrapping_add(end - first);
        Some((group, free))
    }

    /// The change lets these blocks of a group be free.
    #[inline(always)]
    fn touch(&self, blocks: &mut Blocks, group: u32, free: u64) -> Checked<()> {
        let place = blocks.touched.get_mut(blocks.touched_len);
        *place.ok_or(Fault::Damage)? = (group, free);
        blocks.touched_len += 1;
        Ok(())
    }

    /// Frees the blocks of an entry. Where they lie in many groups, the rest become the loose blocks.
    #[inline(always)]
    pub(super) fn free_blocks(&self, blocks: &mut Blocks, first: u32, count: u32) -> Checked<()> {
        let (at, left) = self.free_chain(blocks, first, count)?;
        if left > 0 {
            if blocks.loose_count != 0 {
                return Err(Fault::Damage);
            }
            (blocks.loose_block, blocks.loose_count) = (at, left);
        }
        Ok(())
    }

    /// Frees the first of the `count` blocks of a chain, as many as one change can. Returns the next one, and how many are
    /// left.
    #[inline(always)]
    fn free_chain(&self, blocks: &mut Blocks, first: u32, count: u32) -> Checked<(u32, u32)> {
        let (mut at, mut left) = (first, count);
        while left > 0 {
            let group = at / GROUP;
            let known = blocks.touched().iter().rposition(|touched| touched.0 == group);
            let place = match known {
                Some(place) => place,
                None if blocks.touched_len == TOUCHED => break,
                None => {
                    let free = self.free_of(group)?.get();
                    self.touch(blocks, group, free)?;
                    blocks.touched_len - 1
                }
            };
            let mut free = blocks.touched[place].1;
            // The blocks of a long value mostly lie in one group after the other.
            while left > 0 && at / GROUP == group {
                let (block, bit) = (self.block(at)?, 1 << (at % GROUP));
                if free & bit != 0 {
                    return Err(Fault::Damage);
                }
                free |= bit;
                left -= 1;
                blocks.free = blocks.free.wrapping_add(1);
                if left > 0 {
                    at = block.link.get();
                }
            }
            blocks.touched[place].1 = free;
        }
        Ok((at, left))
    }

    /// Frees the loose blocks. Each change frees a part, so whoever is killed leaves the rest.
    #[inline(always)]
    pub(super) fn free_loose(&self) -> Checked<()> {
        let header = self.header();
        if header.loose_block.get() == NONE && header.loose_count.get() == 0 {
            return Ok(());
        }
        self.free_loose_parts()
    }

    #[cold]
    fn free_loose_parts(&self) -> Checked<()> {
        if self.header().loose_block.get() == NONE {
            return Err(Fault::Damage);
        }
        loop {
            let mut blocks = self.blocks();
            let (first, count) = (blocks.loose_block, blocks.loose_count);
            let (at, left) = self.free_chain(&mut blocks, first, count)?;
            (blocks.loose_block, blocks.loose_count) = (if left == 0 { NONE } else { at }, left);
            self.commit_blocks(&blocks)?;
            if left == 0 {
                return Ok(());
            }
        }
    }

    fn commit_blocks(&self, blocks: &Blocks) -> Checked<()> {
        let mut change = self.change();
        self.store_blocks(&mut change, blocks)?;
        change.commit()?;
        self.blocks_stored(blocks)
    }

    /// The change stores what is different. [`View::blocks_stored`] is to be called once it is committed.
    #[inline(always)]
    pub(super) fn store_blocks<'a>(&'a self, change: &mut Change<'a, M>, blocks: &Blocks) -> Checked<()> {
        let header = self.header();
        for &(group, free) in blocks.touched() {
            if let Some(summary) = Summary::of(free) {
                self.mark(summary, group)?;
            }
            let word = self.free_of(group)?;
            for (half, free) in word.halves().into_iter().zip(free.to_ne_bytes().as_chunks().0) {
                change.set_if_new(half, u32::from_ne_bytes(*free));
            }
        }
        change.set_if_new(&header.blocks_free, blocks.free);
        change.set_if_new(&header.blocks_used, blocks.used);
        change.set_if_new(&header.loose_block, blocks.loose_block);
        change.set_if_new(&header.loose_count, blocks.loose_count);
        Ok(())
    }

    /// Clears what is wrong in the summaries after a change.
    #[inline(always)]
    pub(super) fn blocks_stored(&self, blocks: &Blocks) -> Checked<()> {
        for &(group, free) in blocks.touched() {
            let right = Summary::of(free);
            for summary in [Summary::Part, Summary::Whole] {
                let bit = 1 << (group % GROUPS);
                if right != Some(summary) && self.summary(summary, 1, group / GROUPS)?.get() & bit != 0 {
                    self.unmark(summary, 1, group)?;
                }
            }
        }
        if let Some((group, _)) = blocks.touched().last() {
            self.header().near_group.set(*group);
        }
        Ok(())
    }

    /// Which blocks of a group are free.
    pub(super) fn free_of(&self, group: u32) -> Checked<&Long> {
        Ok(&self.section(group / GROUPS)?.free[(group % GROUPS) as usize])
    }

    /// A word of a level of a summary.
    #[inline(always)]
    fn summary(&self, summary: Summary, level: u32, word: u32) -> Checked<&Long> {
        let which = summary as usize;
        match level {
            1 => Ok(&self.section(word)?.first[which]),
            // Of 64 sections, the first one has it.
            2 => Ok(&self.section(word * GROUPS)?.second[which]),
            _ => self.header().third[which].get(word as usize).ok_or(Fault::Damage),
        }
    }

    /// A summary leads to a group from now on.
    #[inline(always)]
    pub(super) fn mark(&self, summary: Summary, group: u32) -> Checked<()> {
        if self.summary(summary, 1, group / GROUPS)?.get() & 1 << (group % GROUPS) != 0 {
            return Ok(());
        }
        for level in [3, 2, 1] {
            let index = group >> (6 * (level - 1));
            let word = self.summary(summary, level, index / GROUPS)?;
            word.commit(word.get() | 1 << (index % GROUPS));
        }
        Ok(())
    }

    /// A bit of a level of a summary is cleared, and those that lead to nothing then.
    fn unmark(&self, summary: Summary, level: u32, index: u32) -> Checked<()> {
        let mut index = index;
        for level in level..=3 {
            let word = self.summary(summary, level, index / GROUPS)?;
            let now = word.get() & !(1 << (index % GROUPS));
            word.commit(now);
            if now != 0 {
                break;
            }
            index /= GROUPS;
        }
        Ok(())
    }

    /// The next group that a search finds, and its free blocks.
    #[inline(always)]
    fn search(&self, summary: Summary, search: &mut Search, used: u32) -> Checked<Option<(u32, u64)>> {
        loop {
            let found = self.next_group(summary, search.at, groups(used))?;
            let found = found.filter(|found| !search.is_second || found.0 < search.start);
            match found {
                Some(found) => {
                    search.at = found.0 + 1;
                    return Ok(Some(found));
                }
                None if search.is_second => return Ok(None),
                None => (search.at, search.is_second) = (0, true),
            }
        }
    }

    /// The first group from `from` on, of the first `groups`, that a summary leads to by right; and its free blocks.
    #[inline(always)]
    fn next_group(&self, summary: Summary, from: u32, groups: u32) -> Checked<Option<(u32, u64)>> {
        let mut from = from;
        for _ in 0..WRONG {
            if from >= groups {
                return Ok(None);
            }
            let found = bit_from(self.summary(summary, 1, from / GROUPS)?.get(), from % GROUPS);
            let Some(bit) = found else {
                match self.next_section(summary, from / GROUPS + 1, groups.div_ceil(GROUPS))? {
                    Some(section) => from = section * GROUPS,
                    None => return Ok(None),
                }
                continue;
            };
            from = from / GROUPS * GROUPS + bit;
            if from < groups {
                let free = self.free_of(from)?.get();
                if Summary::of(free) == Some(summary) {
                    return Ok(Some((from, free)));
                }
            }
            self.unmark(summary, 1, from)?;
        }
        Err(Fault::Damage)
    }

    /// The first section from `from` on, of the first `sections`, that the second level leads to; or an earlier one, in whose
    /// place nothing was found and a wrong bit was cleared.
    fn next_section(&self, summary: Summary, from: u32, sections: u32) -> Checked<Option<u32>> {
        if from >= sections {
            return Ok(None);
        }
        if let Some(bit) = bit_from(self.summary(summary, 2, from / GROUPS)?.get(), from % GROUPS) {
            let section = from / GROUPS * GROUPS + bit;
            if section < sections && self.summary(summary, 1, section)?.get() == 0 {
                self.unmark(summary, 2, section)?;
            }
            return Ok(Some(section).filter(|section| *section < sections));
        }
        let from = from / GROUPS + 1;
        let words = &self.header().third[summary as usize];
        let mut start = from % GROUPS;
        for (number, word) in words.iter().enumerate().skip((from / GROUPS) as usize) {
            if let Some(bit) = bit_from(word.get(), start) {
                let second = number as u32 * GROUPS + bit;
                let section = second * GROUPS;
                if section >= sections {
                    break;
                }
                if self.summary(summary, 2, second)?.get() == 0 {
                    self.unmark(summary, 3, second)?;
                }
                return Ok(Some(section));
            }
            start = 0;
        }
        Ok(None)
    }

    /// Makes the words of all groups anew: of the first `used` blocks, those are free that are not `taken`. Returns how many
    /// are. The first `written` sections have memory, and may have been written; they are enough.
    pub(super) fn rebuild_free(&self, used: u32, written: u32, taken: impl Fn(u32) -> u64) -> Checked<u32> {
        for word in self.header().third.iter().flatten() {
            word.set(0);
        }
        for number in 0..written {
            let section = self.section(number)?;
            for word in section.second.iter().chain(&section.first) {
                word.set(0);
            }
        }
        let mut count = 0;
        for group in 0..groups(used) {
            let end = (used - group * GROUP).min(GROUP);
            let none = u64::from(group == 0);
            let free = u64::MAX >> (GROUP - end) & !taken(group) & !none;
            self.free_of(group)?.set(free);
            if let Some(summary) = Summary::of(free) {
                self.mark(summary, group)?;
            }
            count += free.count_ones();
        }
        self.header().near_group.set(0);
        Ok(count)
    }

    /// Whether the summaries lead to a group that has free blocks.
    pub(super) fn is_summed_up(&self, group: u32) -> Checked<bool> {
        let Some(summary) = Summary::of(self.free_of(group)?.get()) else {
            return Ok(true);
        };
        for level in 1..=3 {
            let index = group >> (6 * (level - 1));
            if self.summary(summary, level, index / GROUPS)?.get() & 1 << (index % GROUPS) == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
