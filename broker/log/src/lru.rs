//! What was used last stays: a map with a bound on what its values weigh.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map that lets go of what was not used for the longest time once it weighs too much.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    slots: HashMap<K, Slot<V>>,
    /// Keys by when they were used last.
    order: BTreeMap<u64, K>,
    clock: u64,
    weight: usize,
    weight_max: usize,
}

#[derive(Debug)]
struct Slot<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<K: Copy + Eq + Hash, V: Clone> Lru<K, V> {
    pub(crate) fn new(weight_max: usize) -> Self {
        Self {
            slots: HashMap::new(),
            order: BTreeMap::new(),
            clock: 0,
            weight: 0,
            weight_max,
        }
    }

    /// The value, which counts as used now.
    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        let slot = self.slots.get_mut(key)?;
        self.clock += 1;
        self.order.remove(&slot.used);
        slot.used = self.clock;
        self.order.insert(self.clock, *key);
        Some(slot.value.clone())
    }

    /// Keeps a value, and lets go of others for it. One that alone weighs too much is not kept.
    pub(crate) fn insert(&mut self, key: K, value: V, weight: usize) {
        self.remove(&key);
        if weight > self.weight_max {
            return;
        }
        self.clock += 1;
        let used = self.clock;
        self.order.insert(used, key);
        let slot = Slot {
            value,
            weight,
            used,
        };
        self.slots.insert(key, slot);
        self.weight += weight;
        while self.weight > self.weight_max {
            let Some((_, oldest)) = self.order.pop_first() else {
                return;
            };
            if let Some(slot) = self.slots.remove(&oldest) {
                self.weight -= slot.weight;
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(slot) = self.slots.remove(key) {
            self.order.remove(&slot.used);
            self.weight -= slot.weight;
        }
    }

    /// Lets go of every key that is not to be kept.
    pub(crate) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        let gone: Vec<K> = self
            .slots
            .keys()
            .filter(|key| !keep(key))
            .copied()
            .collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    /// How many values are kept, and what they weigh together.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.slots.len(), self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::Lru;

    #[test]
    fn what_was_used_last_stays_within_the_bound() {
        let mut lru = Lru::new(10);
        for key in 0..5 {
            lru.insert(key, key * 10, 2);
        }
        assert_eq!(lru.get(&0), Some(0));
        lru.insert(9, 90, 4);
        assert_eq!((lru.get(&1), lru.get(&2)), (None, None));
        assert_eq!((lru.get(&0), lru.get(&3)), (Some(0), Some(30)));
        assert_eq!(lru.size(), (4, 10));
        lru.insert(9, 91, 1);
        assert_eq!(lru.get(&9), Some(91));
        lru.insert(7, 70, 11);
        assert_eq!((lru.get(&7), lru.size()), (None, (4, 7)));
        lru.retain(|key| *key == 9);
        assert_eq!(lru.size(), (1, 1));
    }

    #[test]
    fn it_never_weighs_more_than_it_may() {
        let mut lru = Lru::new(100);
        for key in 0..10_000_u32 {
            lru.insert(key % 700, key, (key % 13) as usize);
            lru.get(&(key % 31));
            assert!(lru.size().1 <= 100);
        }
        let (count, weight) = lru.size();
        assert_eq!(lru.order.len(), count);
        assert_eq!(
            lru.slots.values().map(|slot| slot.weight).sum::<usize>(),
            weight
        );
    }
}
