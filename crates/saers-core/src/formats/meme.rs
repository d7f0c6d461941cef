//! MEME 4 and 5: the minimal format, and the reports of MEME and STREME.

use super::Text;
use crate::Result;
use crate::motif::{Frequencies, Motif, Row, UNIFORM};

/// What the line above a matrix says, every key of it optional.
#[derive(Default)]
struct Header {
    width: Option<usize>,
    n_sites: Option<f64>,
    log10_evalue: Option<f64>,
}

/// Reads every motif that has a matrix of probabilities.
///
/// Reports repeat a motif's name above other sections, and hold number lines in logos; only the
/// rows right below "letter-probability matrix" are read.
pub(super) fn parse(text: &Text) -> Result<Vec<Motif>> {
    let mut motifs: Vec<Motif> = Vec::new();
    let mut background = UNIFORM;
    let mut name: Option<(usize, String, String)> = None;
    let mut line = 0;
    while line < text.lines.len() {
        let content = text.lines[line].trim();
        if content.starts_with("ALPHABET") {
            check_alphabet(text, line)?;
        } else if content.starts_with("Background letter frequencies") {
            (background, line) = read_background(text, line + 1)?;
        } else if content.starts_with("MOTIF") {
            if let Some((line, id, _)) = name.replace(read_name(text, line)?) {
                return Err(text.error(line, format!("motif {id} has no probability matrix")));
            }
        } else if content.starts_with("letter-probability matrix") {
            let Some((_, id, alt)) = name.take() else {
                return Err(text.error(line, "a matrix without a MOTIF line above it"));
            };
            let header = read_header(text, line)?;
            let (frequencies, next) = read_matrix(text, line, header.width)?;
            let Header { n_sites, log10_evalue, .. } = header;
            motifs.push(Motif { id, name: alt, frequencies, n_sites, background, log10_evalue });
            line = next;
            continue;
        }
        line += 1;
    }
    match name {
        Some((line, id, _)) => {
            Err(text.error(line, format!("motif {id} has no probability matrix")))
        }
        None => Ok(motifs),
    }
}

/// Accepts DNA alone: the four letters, or the name of the alphabet.
fn check_alphabet(text: &Text, line: usize) -> Result<()> {
    let stated = text.lines[line].trim().trim_start_matches("ALPHABET").trim_start_matches('=');
    let stated = stated.trim().trim_matches('"');
    let known = ["ACGT", "ACGU"].contains(&stated) || stated.to_uppercase().starts_with("DNA");
    if known {
        Ok(())
    } else {
        Err(text.error(line, format!("expected a DNA alphabet, found '{stated}'")))
    }
}

/// Reads "A 0.25 C 0.25 …", which may take several lines, and returns the last line of it.
fn read_background(text: &Text, first: usize) -> Result<(Row, usize)> {
    let mut values = Vec::new();
    for line in first..text.lines.len() {
        for pair in text.lines[line].split_whitespace().collect::<Vec<_>>().chunks(2) {
            let &[_, value] = pair else {
                return Err(text.error(line, "expected pairs of letter and frequency"));
            };
            values.push(text.number(line, value)?);
        }
        if let [a, c, g, t, ..] = values[..] {
            let row = [a, c, g, t];
            let total: f64 = row.iter().sum();
            let sane = row.iter().all(|value| *value >= 0.0) && (total - 1.0).abs() < 0.05;
            return if sane {
                Ok((row, line))
            } else {
                Err(text.error(line, format!("background frequencies sum to {total}, expected 1")))
            };
        }
    }
    Err(text.error(first - 1, "the background has fewer than 4 frequencies"))
}

/// Reads "MOTIF id [name]"; in reports the words "width = …" follow.
fn read_name(text: &Text, line: usize) -> Result<(usize, String, String)> {
    let mut words = text.lines[line].split_whitespace().skip(1);
    let Some(id) = words.next() else {
        return Err(text.error(line, "MOTIF without an id"));
    };
    let name = words.next().filter(|&word| word != "width").unwrap_or_default();
    Ok((line, id.to_owned(), name.to_owned()))
}

fn read_header(text: &Text, line: usize) -> Result<Header> {
    let spaced = text.lines[line].replace('=', "= ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut header = Header::default();
    for pair in words.windows(2) {
        match pair[0] {
            "alength=" if pair[1] != "4" => {
                return Err(text.error(line, format!("expected alength= 4, found {}", pair[1])));
            }
            "w=" => {
                let width = pair[1].parse().ok().filter(|width| *width > 0);
                let message = || text.error(line, format!("bad width '{}'", pair[1]));
                header.width = Some(width.ok_or_else(message)?);
            }
            "nsites=" => header.n_sites = Some(text.number(line, pair[1])?).filter(|n| *n > 0.0),
            "E=" => header.log10_evalue = text.at(line, log10(pair[1]))?,
            _ => {}
        }
    }
    Ok(header)
}

/// Reads the logarithm of a positive number off its text; `None` for 0, which means "not known".
///
/// E-values such as 2.2e-1834 are far below what a double holds, hence the text.
fn log10(word: &str) -> Result<Option<f64>> {
    let (digits, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let mantissa: Option<f64> = digits.parse().ok().filter(|m: &f64| m.is_finite() && *m >= 0.0);
    let exponent: Option<i32> = exponent.parse().ok();
    match (mantissa, exponent) {
        (Some(0.0), Some(_)) => Ok(None),
        (Some(mantissa), Some(exponent)) => Ok(Some(mantissa.log10() + f64::from(exponent))),
        _ => Err(crate::Error::invalid(format!("bad E-value '{word}'"))),
    }
}

/// Reads the rows below a matrix line and returns the line after them.
fn read_matrix(text: &Text, header: usize, width: Option<usize>) -> Result<(Frequencies, usize)> {
    let mut rows = Vec::new();
    let mut line = header + 1;
    while line < text.lines.len() && width.is_none_or(|width| rows.len() < width) {
        let content = text.lines[line].trim();
        let blank = content.is_empty();
        if !blank && !starts_with_number(content) || blank && width.is_none() && !rows.is_empty() {
            break;
        }
        if !blank {
            rows.push(text.row(line, 0)?);
        }
        line += 1;
    }
    if let Some(width) = width.filter(|&width| width != rows.len()) {
        let found = rows.len();
        return Err(
            text.error(header, format!("expected {width} rows of the matrix, found {found}"))
        );
    }
    Ok((text.at(header, Frequencies::new(rows))?, line))
}

fn starts_with_number(content: &str) -> bool {
    content.starts_with(|c: char| c.is_ascii_digit() || ['.', '-', '+'].contains(&c))
        && !content.starts_with("--")
}
