//! The order of scans: that of the hashes of the keys, read from their lowest bit on. Rows are no such order: an entry gets
//! another row where its value is, or becomes, one that the primary keeps by reference.
//!
//! A bucket has the keys whose hashes have the same lowest bits, so it is a range of this order. Where a bucket is divided, each
//! half is a half of its range. So a place in the order stays what it is while the index grows, after a reset and after a
//! rebuild: the hash of a key is the same as long as the segment is there.

use super::{
    layout::NONE,
    memory::Memory,
    view::{BUCKETS, Checked, Fault, View},
};
use crate::{
    extras::Extras,
    storage::{Entry, Slice},
    value::Value,
};

/// The entries of a bucket.
pub(super) struct Part<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    /// The number of buckets and rows that were looked at.
    pub(super) looked_at: usize,
    /// Bytes of keys and values that were read.
    pub(super) bytes: usize,
    /// The place behind the bucket; `None` at the end.
    pub(super) next: Option<u32>,
}

/// The bucket that a place belongs to, among `buckets`, and the place behind the bucket; `None` at the end.
fn bucket_at_place(place: u32, buckets: u32) -> (u32, Option<u32>) {
    let hash = place.reverse_bits();
    // As many as the last bucket's number has.
    let bits = (buckets - 1).ilog2() + 1;
    let all = |bits: u32| hash & (u32::MAX >> (u32::BITS - bits));
    let (bucket, bits) = match all(bits) {
        // This bucket, or the one that is to be divided from it, is not there yet: both ranges are those of one.
        bucket if bucket >= buckets || (bucket ^ 1 << (bits - 1)) >= buckets => (all(bits - 1), bits - 1),
        bucket => (bucket, bits),
    };
    let last = place | u32::MAX >> bits;
    (bucket, last.checked_add(1))
}

/// How many buckets are read ahead at a time.
pub(super) const AHEAD: usize = 32;

impl<M: Memory> View<M> {
    /// Reads some of the buckets from the place `from` on, the first row of each and its first block, and drops what it reads.
    /// They lie all over the memory: reads that do not wait for each other take the processor a third of the time.
    pub(super) fn read_ahead(&self, from: u32) {
        let buckets = self.header().buckets.get();
        if !(BUCKETS..=self.geometry.buckets_max).contains(&buckets) {
            return;
        }
        let mut heads = [NONE; AHEAD];
        let mut place = Some(from);
        for head in &mut heads {
            let Some(at) = place else { break };
            let (bucket, next) = bucket_at_place(at, buckets);
            *head = self.bucket_at(bucket).map_or(NONE, |bucket| bucket.get());
            place = next;
        }
        let firsts = heads.map(|at| self.row_at(at).map_or(NONE, |row| row.first.get()));
        let links = firsts.map(|at| self.block_at(at).map_or(NONE, |block| block.link.get()));
        std::hint::black_box(links);
    }

    /// The entries of the bucket that the place `from` is in, from that place on. Copies are in the scratch memory.
    pub(super) fn bucket_from(&self, from: u32, slice: Slice<'_>) -> Checked<Part<'_>> {
        let buckets = self.header().buckets.get();
        if !(BUCKETS..=self.geometry.buckets_max).contains(&buckets) {
            return Err(Fault::Damage);
        }
        let (bucket, next) = bucket_at_place(from, buckets);
        let mut part = Part {
            entries: vec![],
            looked_at: 1,
            bytes: 0,
            next,
        };
        let mut at = self.bucket_at(bucket)?.get();
        for _ in 0..self.longest() {
            if at == NONE {
                return Ok(part);
            }
            let row = self.live_row(at)?;
            at = row.chain.get();
            part.looked_at += 1;
            if row.hash.get().reverse_bits() < from {
                continue;
            }
            let key = self.key(row)?;
            part.bytes += key.len();
            if !slice.prefix.matches(key) {
                continue;
            }
            let value = match slice.keys_alone {
                true => Value::Undefined,
                false => self.value(row)?,
            };
            part.bytes += value.bytes().len();
            let stamp = self.stamp(row)?;
            part.entries.try_reserve(1).map_err(|_| Fault::Memory)?;
            part.entries.push(Entry {
                key,
                value,
                stamp,
                extras: Extras::NONE,
            });
        }
        match at {
            NONE => Ok(part),
            _ => Err(Fault::Damage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::shared::memory::PlainMemory;

    /// All buckets in the order of scans.
    fn walk(buckets: u32) -> Vec<u32> {
        let (mut found, mut from) = (vec![], Some(0));
        while let Some(at) = from {
            let (bucket, next) = bucket_at_place(at, buckets);
            found.push(bucket);
            from = next;
        }
        found
    }

    #[test]
    fn every_bucket_comes_once() {
        for buckets in BUCKETS..300 {
            let mut found = walk(buckets);
            found.sort_unstable();
            assert_eq!(found, Vec::from_iter(0..buckets), "{buckets}");
        }
    }

    #[test]
    fn a_place_is_in_the_bucket_of_its_hash() {
        for buckets in (BUCKETS..200).chain([1 << 20, (1 << 20) + 77, 1 << 31, u32::MAX >> 1]) {
            for at in 0..500u32 {
                let place = at.wrapping_mul(0x9E37_79B9);
                let (bucket, next) = bucket_at_place(place, buckets);
                let of = |place: u32| View::<PlainMemory>::bucket_of(place.reverse_bits(), buckets);
                assert_eq!(bucket, of(place));
                let last = next.map_or(u32::MAX, |next| next - 1);
                assert!(place <= last);
                assert_eq!(bucket, of(last), "{buckets} {place}");
                assert!(next.is_none_or(|next| of(next) != bucket));
            }
        }
    }
}
