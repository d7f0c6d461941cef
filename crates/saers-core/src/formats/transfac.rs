//! TRANSFAC: fields of two letters, counts below "P0" or "PO", motifs ended by "//".

use super::Text;
use super::positions::motif_of_counts;
use crate::Result;
use crate::motif::{Counts, Motif, Row};

/// One record as far as it has been read.
#[derive(Default)]
struct Record {
    accession: String,
    identifier: String,
    name: String,
    header: Option<usize>,
    rows: Vec<Row>,
}

/// Reads every record that has a matrix; the id is the accession, else the identifier.
pub(super) fn parse(text: &Text) -> Result<Vec<Motif>> {
    let mut motifs = Vec::new();
    let mut record = Record::default();
    for line in 0..text.lines.len() {
        let content = text.lines[line].trim();
        let (key, rest) = content.split_once(char::is_whitespace).unwrap_or((content, ""));
        let value = || rest.split_whitespace().collect::<Vec<_>>().join("_");
        match key {
            "AC" => record.accession = value(),
            "ID" => record.identifier = value(),
            "NA" => record.name = value(),
            "P0" | "PO" => {
                check_letters(text, line, rest)?;
                record.header = Some(line);
            }
            "//" => motifs.extend(finish(text, std::mem::take(&mut record))?),
            _ if record.header.is_some() && is_number(key) => {
                record.rows.push(read_row(text, line, record.rows.len())?);
            }
            _ => {}
        }
    }
    motifs.extend(finish(text, record)?);
    Ok(motifs)
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn check_letters(text: &Text, line: usize, letters: &str) -> Result<()> {
    let found = letters.split_whitespace().collect::<String>().to_uppercase().replace('U', "T");
    if found == "ACGT" {
        return Ok(());
    }
    Err(text.error(line, format!("expected the letters A C G T, found '{}'", letters.trim())))
}

fn read_row(text: &Text, line: usize, before: usize) -> Result<Row> {
    let position = text.number(line, text.lines[line].split_whitespace().next().unwrap_or(""))?;
    // Rows count from 1; some writers count from 0.
    if position != before as f64 + 1.0 && position != before as f64 {
        let expected = before + 1;
        return Err(text.error(line, format!("expected row {expected}, found row {position}")));
    }
    text.row(line, 1)
}

fn finish(text: &Text, record: Record) -> Result<Option<Motif>> {
    let Some(header) = record.header else { return Ok(None) };
    let counts = text.at(header, Counts::new(record.rows))?;
    let id = if record.accession.is_empty() { &record.identifier } else { &record.accession };
    if id.is_empty() {
        return Err(text.error(header, "a matrix without AC or ID above it"));
    }
    let name = if record.name.is_empty() { &record.identifier } else { &record.name };
    Ok(Some(motif_of_counts(id.clone(), name.clone(), &counts)))
}
