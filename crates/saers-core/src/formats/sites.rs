//! JASPAR's sites: one FASTA record for each, the motif in upper case between flanks in lower.

use std::path::Path;

use super::Text;
use super::positions::{motif_of_counts, split_title};
use crate::Result;
use crate::motif::{Counts, Motif, Row};

/// Letters that a site may hold; those that name several bases count for none.
const LETTERS: &str = "ACGTURYKMSWBDHVN";

/// Tells sequences from numbers.
pub(super) fn looks_like(body: &[&str]) -> bool {
    body.first().is_some_and(|line| {
        let letters = line.trim();
        !letters.is_empty() && letters.chars().all(|c| LETTERS.contains(c.to_ascii_uppercase()))
    })
}

/// Counts the letters of all sites; they make one motif.
///
/// The id is that of the records where they share one, as `>MA0004.1 ARNT 7`, else the name of
/// the file. Where not all sites have upper case of one length, whole sequences are counted.
pub(super) fn parse(text: &Text) -> Result<Vec<Motif>> {
    let records = records(text)?;
    let core = |letters: &String| letters.chars().filter(char::is_ascii_uppercase).collect();
    let cores: Vec<String> = records.iter().map(|(_, letters)| core(letters)).collect();
    let whole: Vec<String> = records.iter().map(|(_, l)| l.to_ascii_uppercase()).collect();
    let alike = |sites: &[String]| sites.iter().all(|site| site.len() == sites[0].len());
    let sites = if alike(&cores) && !cores[0].is_empty() { cores } else { whole };
    if let Some(index) = sites.iter().position(|site| site.len() != sites[0].len()) {
        let (line, found, expected) = (records[index].0, sites[index].len(), sites[0].len());
        let message = format!("expected a site of {expected} letters, found {found}");
        return Err(text.error(line, message));
    }
    let mut rows: Vec<Row> = vec![[0.0; 4]; sites[0].len()];
    for site in &sites {
        for (row, letter) in rows.iter_mut().zip(site.bytes()) {
            if let Some(base) = b"ACGT".iter().position(|base| *base == letter) {
                row[base] += 1.0;
            }
        }
    }
    let counts = text.at(records[0].0, Counts::new(rows))?;
    let (id, name) = title(text, &records);
    Ok(vec![motif_of_counts(id, name, &counts)])
}

/// Reads headers, by their lines, with the letters below them.
fn records(text: &Text) -> Result<Vec<(usize, String)>> {
    let mut records: Vec<(usize, String)> = Vec::new();
    for (line, content) in text.lines.iter().enumerate() {
        let content = content.trim();
        if content.starts_with('>') {
            records.push((line, String::new()));
        } else if let Some((_, letters)) = records.last_mut() {
            if let Some(odd) = content.chars().find(|c| !LETTERS.contains(c.to_ascii_uppercase())) {
                return Err(text.error(line, format!("expected letters of DNA, found '{odd}'")));
            }
            letters.extend(content.chars().map(|c| match c {
                'U' => 'T',
                'u' => 't',
                other => other,
            }));
        }
    }
    match records.iter().find(|(_, letters)| letters.is_empty()) {
        Some((line, _)) => Err(text.error(*line, "a site without letters")),
        None => Ok(records),
    }
}

fn title(text: &Text, records: &[(usize, String)]) -> (String, String) {
    let of = |line: usize| split_title(text.lines[line].trim().trim_start_matches('>'));
    let (id, name) = of(records[0].0);
    if !id.is_empty() && records.len() > 1 && records.iter().all(|(line, _)| of(*line).0 == id) {
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
        return (id, name.to_owned());
    }
    (stem(text.path), String::new())
}

/// Drops the endings of a file of sites.
fn stem(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default();
    let mut stem = file.to_string_lossy().into_owned();
    for ending in [".gz", ".fasta", ".fa", ".sites"] {
        if let Some(shorter) = stem.strip_suffix(ending) {
            stem = shorter.to_owned();
        }
    }
    let stem = stem.split_whitespace().collect::<Vec<_>>().join("_");
    if stem.is_empty() { "sites".to_owned() } else { stem }
}
