//! `saers._core`: one binding file beside each file of `saers-core`.

use pyo3::prelude::*;

mod discover;
mod error;
mod fasta;
mod formats;
mod intervals;
mod jaccard;
mod largest;
mod motif;
mod scan;
mod shuffle;
mod source;
mod stats;
mod tomtom;
mod topk;
mod wait;

/// Kernels of saers; private, typed by `_core.pyi`.
#[pymodule(gil_used = false)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::discover::{discover_motifs, motif_offsets, shuffle_dinucleotides};
    #[pymodule_export]
    use crate::fasta::Fasta;
    #[pymodule_export]
    use crate::formats::{motifs_text, read_motifs};
    #[pymodule_export]
    use crate::intervals::{count_overlaps, merge};
    #[pymodule_export]
    use crate::jaccard::jaccard;
    #[pymodule_export]
    use crate::largest::largest;
    #[pymodule_export]
    use crate::motif::{
        motif_consensus, motif_core, motif_frequencies, motif_information, motif_shuffle,
    };
    #[pymodule_export]
    use crate::scan::{MotifScanner, NullShares};
    #[pymodule_export]
    use crate::shuffle::{GcMatch, Placement};
    #[pymodule_export]
    use crate::source::{Dataset, decode_chunk};
    #[pymodule_export]
    use crate::stats::ChannelStats;
    #[pymodule_export]
    use crate::tomtom::tomtom;
    #[pymodule_export]
    use crate::topk::sparse::TopSeqlets;
    #[pymodule_export]
    use crate::topk::{DenseTop, top_positions, top_positions_from};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("FormatError", module.py().get_type::<crate::error::FormatError>())?;
        module.add("TimeoutExceeded", module.py().get_type::<crate::error::TimeoutExceeded>())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
