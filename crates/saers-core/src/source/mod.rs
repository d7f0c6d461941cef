//! Reading activations from HDF5 files without the HDF5 library.

pub mod filters;
