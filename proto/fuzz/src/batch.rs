//! Batches from a stranger: checked, verified and read; and compressed bytes under their caps.

use millrace_proto::batch::{self, Header, Limits};
use millrace_proto::compression::{Caps, Codec, decompress};

const CAPS: Caps = Caps { max_bytes: 1 << 20, max_ratio: 1000, free_bytes: 1 << 16 };

/// A batch, as it comes and with its length and CRC made right. Whatever a leader accepts can be read.
pub fn batches(data: &[u8]) {
    read_all(data);
    let mut data = data.to_vec();
    if data.len() >= Header::SIZE {
        let length = (data.len() - Header::LENGTH_OVERHEAD) as i32;
        data[..8].fill(0);
        data[8..12].copy_from_slice(&length.to_be_bytes());
        data[16] = Header::MAGIC as u8;
        let crc = crc32c::crc32c(&data[21..]);
        data[17..21].copy_from_slice(&crc.to_be_bytes());
        read_all(&data);
    }
}

/// The first byte chooses a codec; the rest is what it is given. It never makes more than the caps allow.
pub fn compressed(data: &[u8]) {
    let Some((codec, data)) = data.split_first() else { return };
    let codec = Codec::ALL[usize::from(*codec) % Codec::ALL.len()];
    let mut out = Vec::new();
    let _ = decompress(codec, data, &CAPS, &mut out);
    assert!(out.len() <= CAPS.limit(data.len()));
}

fn read_all(data: &[u8]) {
    let limits = Limits { caps: CAPS, max_batch_bytes: usize::MAX, ..Limits::default() };
    let mut scratch = Vec::new();
    let read: Result<Vec<_>, _> = batch::records(data, &mut scratch, &CAPS).and_then(Iterator::collect);
    let _ = batch::verify(data);
    if let Ok(checked) = batch::validate(data, &limits) {
        let read = read.expect("what a leader accepts can be read");
        assert_eq!(read.len(), checked.record_count as usize);
        for record in read {
            assert_eq!(record.headers.len(), record.headers.count());
        }
    }
}
