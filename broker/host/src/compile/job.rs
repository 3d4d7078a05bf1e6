//! What stands before the component on the compiler's stdin, little-endian: magic (8 bytes),
//! processor seconds (u64), memory bytes (u64), component length (u64).

use std::time::Duration;

const MAGIC: [u8; 8] = *b"WEIRJOB1";
pub(super) const JOB_LEN: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// Whole seconds count; at least one.
    pub(super) cpu: Duration,
    pub(super) memory: u64,
    pub(super) length: u64,
}

impl Job {
    pub(super) fn encode(&self) -> [u8; JOB_LEN] {
        let mut bytes = [0; JOB_LEN];
        let seconds = self.cpu.as_secs().max(1);
        let numbers = [u64::from_le_bytes(MAGIC), seconds, self.memory, self.length];
        for (slot, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *slot = number.to_le_bytes();
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8; JOB_LEN]) -> Option<Self> {
        let [magic, seconds, memory, length] = bytes.as_chunks::<8>().0 else {
            return None;
        };
        (*magic == MAGIC).then(|| Self {
            cpu: Duration::from_secs(u64::from_le_bytes(*seconds)),
            memory: u64::from_le_bytes(*memory),
            length: u64::from_le_bytes(*length),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Job};

    #[test]
    fn a_job_is_read_as_it_was_written() {
        let job = Job {
            cpu: Duration::from_secs(7),
            memory: 1 << 33,
            length: 12,
        };
        assert_eq!(Job::decode(&job.encode()), Some(job));
        let mut other = job.encode();
        other[7] = b'2';
        assert_eq!(Job::decode(&other), None);
    }
}
