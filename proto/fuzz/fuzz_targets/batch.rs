//! A batch from a stranger: checked, verified and read, as it comes and with its length and CRC made right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_proto::batch::{self, Header, Limits};
use millrace_proto::compression::Caps;

const CAPS: Caps = Caps { max_bytes: 1 << 20, max_ratio: 1000, free_bytes: 1 << 16 };

fn read_all(bytes: &[u8]) {
    let limits = Limits { caps: CAPS, max_batch_bytes: usize::MAX, ..Limits::default() };
    let mut scratch = Vec::new();
    let read: Result<Vec<_>, _> = batch::records(bytes, &mut scratch, &CAPS).and_then(Iterator::collect);
    let _ = batch::verify(bytes);
    if let Ok(checked) = batch::validate(bytes, &limits) {
        let read = read.expect("what a leader accepts can be read");
        assert_eq!(read.len(), checked.record_count as usize);
        for record in read {
            assert_eq!(record.headers.len(), record.headers.count());
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    read_all(bytes);
    let mut bytes = bytes.to_vec();
    if bytes.len() >= Header::SIZE {
        let length = (bytes.len() - Header::LENGTH_OVERHEAD) as i32;
        bytes[..8].fill(0);
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = Header::MAGIC as u8;
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        read_all(&bytes);
    }
});
