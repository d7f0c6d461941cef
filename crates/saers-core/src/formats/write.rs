//! Writing motifs as text.

use std::fmt::Write;

use crate::motif::{Motif, Row, UNIFORM};

/// Sites that a probability is spread over where a motif does not say how many it has.
const DEFAULT_SITES: f64 = 100.0;

/// Writes motifs in MEME's minimal format, version 4.
///
/// A file has one background: that of the motifs where they agree, else equal letters. An
/// E-value that is not known is left out.
///
/// ```
/// use saers_core::formats::{meme_text, parse};
/// let text = "MEME version 4\nMOTIF M1\nletter-probability matrix: w= 1 E= 2.2e-1834\n1 0 0 0\n";
/// let motifs = parse(text, "m.meme".as_ref())?;
/// assert!(meme_text(&motifs).contains("w= 1 E= 2.2e-1834\n"));
/// assert_eq!(parse(&meme_text(&motifs), "again".as_ref())?, motifs);
/// # Ok::<(), saers_core::Error>(())
/// ```
#[must_use]
pub fn meme_text(motifs: &[Motif]) -> String {
    let mut out = String::from("MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n");
    let [a, c, g, t] = shared_background(motifs);
    out.push_str("Background letter frequencies\n");
    line(&mut out, format_args!("A {a} C {c} G {g} T {t}"));
    for motif in motifs {
        let name = if motif.name.is_empty() { String::new() } else { format!(" {}", motif.name) };
        line(&mut out, format_args!("\nMOTIF {}{name}", motif.id));
        let sites = motif.n_sites.map_or(String::new(), |n| format!(" nsites= {n}"));
        let evalue = motif.log10_evalue.map_or(String::new(), |e| format!(" E= {}", power(e)));
        let width = motif.frequencies.width();
        line(
            &mut out,
            format_args!("letter-probability matrix: alength= 4 w= {width}{sites}{evalue}"),
        );
        for [a, c, g, t] in motif.frequencies.rows() {
            line(&mut out, format_args!(" {a:.9}  {c:.9}  {g:.9}  {t:.9}"));
        }
    }
    out
}

/// Writes motifs in JASPAR's format: counts, one line for each letter.
///
/// ```
/// use saers_core::formats::{jaspar_text, parse};
/// let text = ">M1 Sox2\nA [ 3 0 ]\nC [ 0 1 ]\nG [ 0 2 ]\nT [ 0 0 ]\n";
/// let motifs = parse(text, "m.jaspar".as_ref())?;
/// assert_eq!(jaspar_text(&motifs).lines().nth(2), Some("C  [      0      1 ]"));
/// # Ok::<(), saers_core::Error>(())
/// ```
#[must_use]
pub fn jaspar_text(motifs: &[Motif]) -> String {
    let mut out = String::new();
    for motif in motifs {
        line(&mut out, format_args!(">{}\t{}", motif.id, motif.name));
        // Counts below one site would round to nothing.
        let sites = motif.n_sites.filter(|sites| *sites >= 1.0).unwrap_or(DEFAULT_SITES);
        for (letter, base) in "ACGT".chars().enumerate() {
            // Four decimals for what are not whole counts, as some collections weight sites.
            let count = |row: &Row| ((row[letter] * sites) * 1e4).round() / 1e4;
            let rows = motif.frequencies.rows().iter();
            let counts: String = rows.map(|row| format!(" {:>6}", count(row))).collect();
            line(&mut out, format_args!("{base}  [{counts} ]"));
        }
    }
    out
}

fn line(out: &mut String, content: std::fmt::Arguments) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{content}");
}

fn shared_background(motifs: &[Motif]) -> Row {
    match motifs {
        [first, rest @ ..] if rest.iter().all(|m| m.background == first.background) => {
            first.background
        }
        _ => UNIFORM,
    }
}

/// Writes a power of ten with two digits, however small it is.
fn power(log10: f64) -> String {
    let mut exponent = log10.floor();
    let mut mantissa = (10.0_f64.powf(log10 - exponent) * 10.0).round() / 10.0;
    if mantissa >= 10.0 {
        (mantissa, exponent) = (1.0, exponent + 1.0);
    }
    format!("{mantissa:.1}e{exponent:+04}")
}
