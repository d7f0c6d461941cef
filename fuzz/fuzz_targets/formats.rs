//! Any text is motifs or an error, and motifs survive being written and read again.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use saers_core::formats::{jaspar_text, meme_text, parse};

fuzz_target!(|text: &str| {
    let path = Path::new("motifs");
    let Ok(motifs) = parse(text, path) else {
        return;
    };
    for text in [meme_text(&motifs), jaspar_text(&motifs)] {
        let again = parse(&text, path).expect("what was written can be read");
        assert_eq!(again.len(), motifs.len(), "{text}");
    }
});
