//! The archive as it is, and as the content of one whose checksums fit, so that more than its damage is found.
#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    unpack(bytes);
    let mut tar = bytes.to_vec();
    for block in tar.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" {
            let mut header = tar::Header::from_byte_slice(block).clone();
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(&tar).unwrap();
    unpack(&encoder.finish().unwrap());
});

fn unpack(bytes: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    determined::fuzzing::archive(bytes, directory.path());
}
