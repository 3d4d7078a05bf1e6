//! A simulated file's bytes: pages that copies share until one of them is written.

use std::sync::Arc;

const PAGE: usize = 4096;
const ZEROS: [u8; PAGE] = [0; PAGE];

/// The bytes of a file at one moment. A page that was never written is `None`: zeros.
#[derive(Clone, Default)]
pub(super) struct Content {
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
    size: u64,
}

/// A change that is not durable yet.
#[derive(Clone)]
pub(super) enum Pending {
    Write { offset: u64, bytes: Arc<[u8]> },
    Allocate(u64),
}

impl Pending {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Self::Write { offset, bytes } => content.write(*offset, bytes),
            Self::Allocate(size) => content.grow(*size),
        }
    }
}

impl Content {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(0, bytes);
        content
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.size).expect("a test's file fits memory")];
        self.read(&mut bytes, 0);
        bytes
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn grow(&mut self, size: u64) {
        self.size = self.size.max(size);
        let pages = usize::try_from(self.size)
            .expect("a test's file fits memory")
            .div_ceil(PAGE);
        self.pages.resize(pages, None);
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let mut at = usize::try_from(offset).expect("a test's file fits memory");
        let mut rest = &mut buffer[..length];
        while !rest.is_empty() {
            let page = self
                .pages
                .get(at / PAGE)
                .and_then(Option::as_deref)
                .unwrap_or(&ZEROS);
            let from = &page[at % PAGE..];
            let piece = from.len().min(rest.len());
            rest[..piece].copy_from_slice(&from[..piece]);
            at += piece;
            rest = &mut rest[piece..];
        }
        length
    }

    pub(super) fn write(&mut self, offset: u64, mut bytes: &[u8]) {
        self.grow(offset + bytes.len() as u64);
        let mut at = usize::try_from(offset).expect("a test's file fits memory");
        while !bytes.is_empty() {
            let page = self.pages[at / PAGE].get_or_insert_with(|| Arc::new(ZEROS));
            let to = &mut Arc::make_mut(page)[at % PAGE..];
            let piece = to.len().min(bytes.len());
            to[..piece].copy_from_slice(&bytes[..piece]);
            at += piece;
            bytes = &bytes[piece..];
        }
    }
}
