//! The answer of the `key` hook: where the bytes of each ordering key lie.

/// Key bytes as the contract returns them: spans into the batch's arena as long as every key is a
/// slice of it, into an arena of their own from the first that is not.
pub(crate) struct KeySpans<'a> {
    batch_arena: &'a [u8],
    own_arena: Vec<u8>,
    spans: Vec<u32>,
}

const NO_KEY: [u32; 2] = [0, u32::MAX];

#[cfg_attr(
    not(any(target_family = "wasm", test)),
    expect(dead_code, reason = "natively only the tests run it")
)]
impl<'a> KeySpans<'a> {
    pub(crate) fn new(batch_arena: &'a [u8], count: usize) -> Self {
        Self {
            batch_arena,
            own_arena: Vec::new(),
            spans: Vec::with_capacity(2 * count),
        }
    }

    pub(crate) fn push(&mut self, key: Option<&[u8]>) {
        let Some(key) = key else {
            return self.spans.extend(NO_KEY);
        };
        if self.own_arena.is_empty() {
            if let Some(start) = self.position(key) {
                return self.spans.extend([start as u32, key.len() as u32]);
            }
            self.leave_batch_arena();
        }
        self.spans
            .extend([self.own_arena.len() as u32, key.len() as u32]);
        self.own_arena.extend_from_slice(key);
    }

    pub(crate) fn finish(self) -> (Vec<u8>, Vec<u32>) {
        (self.own_arena, self.spans)
    }

    /// Where in the batch's arena the key lies, if it is a slice of it.
    fn position(&self, key: &[u8]) -> Option<usize> {
        let start = (key.as_ptr() as usize).checked_sub(self.batch_arena.as_ptr() as usize)?;
        let end = start.checked_add(key.len())?;
        (end <= self.batch_arena.len()).then_some(start)
    }

    /// Copies the keys so far. The leading byte belongs to no key: an arena that is empty would
    /// mean the batch's.
    fn leave_batch_arena(&mut self) {
        self.own_arena.push(0);
        for span in self.spans.chunks_exact_mut(2) {
            let (start, length) = (span[0] as usize, span[1]);
            if length == u32::MAX {
                continue;
            }
            span[0] = self.own_arena.len() as u32;
            self.own_arena
                .extend_from_slice(&self.batch_arena[start..][..length as usize]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::KeySpans;

    fn read<'a>(arena: &'a [u8], spans: &[u32]) -> Vec<Option<&'a [u8]>> {
        spans
            .chunks_exact(2)
            .map(|s| (s[1] != u32::MAX).then(|| &arena[s[0] as usize..][..s[1] as usize]))
            .collect()
    }

    #[test]
    fn key_spans_point_into_the_batch_until_a_key_is_not_a_slice_of_it() {
        let batch = b"one two".to_vec();
        let mut keys = KeySpans::new(&batch, 3);
        keys.push(Some(&batch[4..]));
        keys.push(None);
        keys.push(Some(&batch[..3]));
        let (arena, spans) = keys.finish();
        assert!(arena.is_empty());
        assert_eq!(
            read(&batch, &spans),
            [Some(&b"two"[..]), None, Some(b"one")]
        );

        let other = b"three".to_vec();
        let mut keys = KeySpans::new(&batch, 4);
        keys.push(Some(&batch[4..]));
        keys.push(None);
        keys.push(Some(&other));
        keys.push(Some(&batch[..3]));
        let (arena, spans) = keys.finish();
        let all = [Some(&b"two"[..]), None, Some(b"three"), Some(b"one")];
        assert_eq!(read(&arena, &spans), all);
    }

    #[test]
    fn an_empty_key_that_is_no_slice_still_leaves_the_batch() {
        let batch = b"one".to_vec();
        let mut keys = KeySpans::new(&batch, 2);
        keys.push(Some(b""));
        keys.push(Some(&batch[..]));
        let (arena, spans) = keys.finish();
        let arena = if arena.is_empty() { &batch } else { &arena };
        assert_eq!(read(arena, &spans), [Some(&b""[..]), Some(b"one")]);
    }
}
