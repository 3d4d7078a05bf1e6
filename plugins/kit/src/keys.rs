//! The answer of the `key` hook: where the bytes of each ordering key lie.

/// The ordering keys of a batch, one per record and in their order.
///
/// A key that is a slice of its record costs no copy.
// As the contract returns them: spans into the batch's arena as long as every key is a slice of it,
// into an arena of their own from the first that is not.
#[derive(Debug)]
pub struct Keys<'a> {
    batch_arena: &'a [u8],
    own_arena: Vec<u8>,
    spans: Vec<[u32; 2]>,
}

const NO_KEY: [u32; 2] = [0, u32::MAX];

impl<'a> Keys<'a> {
    pub(crate) fn new(batch_arena: &'a [u8], count: usize) -> Self {
        Self {
            batch_arena,
            own_arena: Vec::new(),
            spans: Vec::with_capacity(count),
        }
    }

    /// Adds the next record's key; `None` for a record that needs no order.
    #[inline]
    pub fn push(&mut self, key: Option<&[u8]>) {
        let Some(key) = key else {
            return self.spans.push(NO_KEY);
        };
        if self.own_arena.is_empty() {
            if let Some(span) = span_in(self.batch_arena, key) {
                return self.spans.push(span);
            }
            self.leave_batch_arena();
        }
        self.spans
            .push([self.own_arena.len() as u32, key.len() as u32]);
        self.own_arena.extend_from_slice(key);
    }

    /// Adds the next records' keys: faster than one by one where they are slices of the records.
    #[inline]
    pub fn extend<'k>(&mut self, keys: impl Iterator<Item = Option<&'k [u8]>> + Clone) {
        let (batch, before) = (self.batch_arena, self.spans.len());
        let mut all_slices = self.own_arena.is_empty();
        if all_slices {
            self.spans.extend(keys.clone().map(|key| {
                let span = key.map_or(Some(NO_KEY), |key| span_in(batch, key));
                all_slices &= span.is_some();
                span.unwrap_or(NO_KEY)
            }));
        }
        if !all_slices {
            self.spans.truncate(before);
            keys.for_each(|key| self.push(key));
        }
    }

    /// The keys so far.
    pub(crate) fn to_vec(&self) -> Vec<Option<Vec<u8>>> {
        let arena = match &self.own_arena[..] {
            [] => self.batch_arena,
            own => own,
        };
        let key = |[start, length]: &[u32; 2]| {
            (*length != u32::MAX).then(|| arena[*start as usize..][..*length as usize].to_vec())
        };
        self.spans.iter().map(key).collect()
    }

    #[cfg(any(target_family = "wasm", test))]
    pub(crate) fn finish(self) -> (Vec<u8>, Vec<u32>) {
        (self.own_arena, self.spans.into_flattened())
    }

    /// Copies the keys so far. The leading byte belongs to no key: an arena that is empty would
    /// mean the batch's.
    fn leave_batch_arena(&mut self) {
        self.own_arena.push(0);
        for [start, length] in &mut self.spans {
            if *length == u32::MAX {
                continue;
            }
            let key = &self.batch_arena[*start as usize..][..*length as usize];
            *start = self.own_arena.len() as u32;
            self.own_arena.extend_from_slice(key);
        }
    }
}

/// Where in the arena the key lies, if it is a slice of it.
#[inline]
fn span_in(arena: &[u8], key: &[u8]) -> Option<[u32; 2]> {
    let start = (key.as_ptr() as usize).checked_sub(arena.as_ptr() as usize)?;
    let end = start.checked_add(key.len())?;
    (end <= arena.len()).then_some([start as u32, key.len() as u32])
}

#[cfg(test)]
mod tests {
    use super::Keys;

    const ONE: Option<&[u8]> = Some(b"one");
    const TWO: Option<&[u8]> = Some(b"two");

    fn owned(keys: &[Option<&[u8]>]) -> Vec<Option<Vec<u8>>> {
        keys.iter().map(|key| key.map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn spans_point_into_the_batch_until_a_key_is_not_a_slice_of_it() {
        let (batch, other) = (b"one two".to_vec(), b"three".to_vec());
        let slices = [Some(&batch[4..]), None, Some(&batch[..3])];
        let mut keys = Keys::new(&batch, 5);
        keys.extend(slices.into_iter());
        assert_eq!(keys.to_vec(), owned(&[TWO, None, ONE]));
        assert!(keys.own_arena.is_empty());
        keys.extend([Some(&batch[..3]), Some(&other)].into_iter());
        let all = [TWO, None, ONE, ONE, Some(b"three")];
        assert_eq!(keys.to_vec(), owned(&all));
        let (arena, spans) = keys.finish();
        assert!(!arena.is_empty() && spans.len() == 2 * all.len());

        let mut one_by_one = Keys::new(&batch, 5);
        slices.into_iter().for_each(|key| one_by_one.push(key));
        one_by_one.push(Some(&batch[..3]));
        assert!(one_by_one.own_arena.is_empty());
        one_by_one.push(Some(&other));
        assert_eq!(one_by_one.to_vec(), owned(&all));
    }

    #[test]
    fn an_empty_key_that_is_no_slice_still_leaves_the_batch() {
        let batch = b"one".to_vec();
        let mut keys = Keys::new(&batch, 2);
        keys.push(Some(b""));
        keys.push(Some(&batch[..]));
        assert_eq!(keys.to_vec(), owned(&[Some(b""), ONE]));
    }
}
