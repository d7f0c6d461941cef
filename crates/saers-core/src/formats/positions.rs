//! Files with one line for each position: HOCOMOCO counts or probabilities, and HOMER.

use super::Text;
use crate::Result;
use crate::motif::{Counts, Frequencies, Motif, Row, UNIFORM};

/// Reads a header and rows of A C G T for each motif.
pub(super) fn parse(text: &Text) -> Result<Vec<Motif>> {
    let mut motifs = Vec::new();
    let mut header = None;
    let mut rows: Vec<Row> = Vec::new();
    for line in 0..text.lines.len() {
        let content = text.lines[line].trim();
        if content.starts_with('>') {
            if let Some(header) = header.replace(line) {
                motifs.push(finish(text, header, std::mem::take(&mut rows))?);
            }
        } else if !(content.is_empty() || content.starts_with('#')) {
            rows.push(read_row(text, line)?);
        }
    }
    if let Some(header) = header {
        motifs.push(finish(text, header, rows)?);
    }
    Ok(motifs)
}

fn read_row(text: &Text, line: usize) -> Result<Row> {
    let row = text.row(line, 0)?;
    if text.numbers(line, 4)?.is_empty() && row.iter().all(|value| *value >= 0.0) {
        return Ok(row);
    }
    let message = "expected 4 counts or probabilities for A C G T; log-odds cannot be compared";
    Err(text.error(line, message))
}

fn finish(text: &Text, header: usize, rows: Vec<Row>) -> Result<Motif> {
    let title = text.lines[header].trim().trim_start_matches('>');
    let (id, name) = split_title(title);
    if id.is_empty() {
        return Err(text.error(header, "expected the id of a motif after '>'"));
    }
    // HOMER: consensus, name, threshold; the name is what tells motifs apart.
    let fields: Vec<&str> = title.split('\t').collect();
    let (id, name) = match fields[..] {
        [consensus, name, threshold, ..]
            if !name.trim().is_empty() && threshold.trim().parse::<f64>().is_ok() =>
        {
            (joined(name), consensus.trim().to_owned())
        }
        _ => (id, name),
    };
    let probabilities = |row: &Row| (row.iter().sum::<f64>() - 1.0).abs() < 0.05;
    if !rows.is_empty() && rows.iter().all(probabilities) {
        let frequencies = text.at(header, Frequencies::new(rows))?;
        let background = UNIFORM;
        return Ok(Motif { id, name, frequencies, n_sites: None, background, log10_evalue: None });
    }
    let counts = text.at(header, Counts::new(rows))?;
    Ok(motif_of_counts(id, name, &counts))
}

/// Splits "id name" at the first blank; blanks within the name become underscores.
pub(super) fn split_title(title: &str) -> (String, String) {
    let title = title.trim();
    let (id, name) = title.split_once(char::is_whitespace).unwrap_or((title, ""));
    (id.to_owned(), joined(name))
}

/// Puts underscores in place of blanks.
fn joined(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join("_")
}

/// Makes a motif whose sites are the sum of its first position.
pub(super) fn motif_of_counts(id: String, name: String, counts: &Counts) -> Motif {
    Motif {
        id,
        name,
        frequencies: counts.to_frequencies(),
        n_sites: Some(counts.n_sites()),
        background: UNIFORM,
        log10_evalue: None,
    }
}
