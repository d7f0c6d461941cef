//! Kernels of saers: slices in, owned values out, no Python.
//!
//! Modules in the order in which they may use each other: [`error`], [`threads`], then
//! streaming over activations ([`source`], [`stats`], [`topk`], [`largest`]), sequence and intervals
//! ([`fasta`], [`intervals`], [`jaccard`], [`shuffle`]), and motifs ([`motif`], [`formats`],
//! `storey`, [`tomtom`], [`discover`], [`scan`]).

pub mod discover;
pub mod error;
pub mod fasta;
pub mod formats;
pub mod intervals;
pub mod jaccard;
pub mod largest;
pub mod motif;
pub mod scan;
pub mod shuffle;
pub mod source;
pub mod stats;
mod storey;
pub mod threads;
pub mod tomtom;
pub mod topk;

pub use error::{Error, Result};
