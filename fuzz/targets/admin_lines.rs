#![no_main]

use libfuzzer_sys::fuzz_target;
use mediasoup_horizontal::fuzzing;

fuzz_target!(|data: &[u8]| fuzzing::admin_lines(data));
