//! Files with one line for each letter: JASPAR, with or without letters and brackets.

use super::Text;
use crate::Result;
use crate::motif::{Counts, Motif, Row};

/// Tells a body with a line for each letter from one with a line for each position.
///
/// Four bare lines of four numbers could be either; they are positions if those sum alike.
pub(super) fn looks_like(body: &[&str]) -> bool {
    let lettered = |line: &&str| {
        line.trim().starts_with(|c: char| c.is_ascii_alphabetic()) || line.contains('[')
    };
    if body.first().is_some_and(lettered) {
        return true;
    }
    if body.len() != 4 {
        return false;
    }
    let rows: Vec<Vec<f64>> =
        body[..4].iter().map(|line| values(line).unwrap_or_default()).collect();
    rows[0].len() != 4 || !sum_alike(&rows)
}

fn sum_alike(rows: &[Vec<f64>]) -> bool {
    let sums: Vec<f64> = rows.iter().map(|row| row.iter().sum()).collect();
    sums.iter().all(|sum| (sum - sums[0]).abs() <= 1e-3 * sums[0].abs())
}

/// Reads the numbers of "A [ 3 0 12 ]", of "3 0 12", or of "A | 3 0 12".
fn values(line: &str) -> std::result::Result<Vec<f64>, String> {
    let bare = line.replace(['[', ']', '|', ':'], " ");
    let words = bare.split_whitespace();
    let numbers = words.skip_while(|word| ["A", "C", "G", "T", "U"].contains(word));
    numbers.map(|word| word.parse().map_err(|_| word.to_owned())).collect()
}

/// Reads header and four lines of counts for each motif.
pub(super) fn parse(text: &Text) -> Result<Vec<Motif>> {
    let mut motifs = Vec::new();
    let mut lines = (0..text.lines.len())
        .filter(|&line| !matches!(text.lines[line].trim().chars().next(), None | Some('#')));
    while let Some(header) = lines.next() {
        let Some(title) = text.lines[header].strip_prefix('>') else {
            return Err(text.error(header, "expected '>' and the id of a motif"));
        };
        let mut letters = Vec::with_capacity(4);
        for letter in "ACGT".chars() {
            let line = lines.next().filter(|&line| !text.lines[line].starts_with('>'));
            let message = || format!("the matrix ends before its line for {letter}");
            let line = line.ok_or_else(|| text.error(header, message()))?;
            letters.push(read_letter(text, line, letter, letters.first())?);
        }
        let rows: Vec<Row> = (0..letters[0].len())
            .map(|i| std::array::from_fn(|letter| letters[letter][i]))
            .collect();
        let counts = text.at(header, Counts::new(rows))?;
        let (id, name) = super::positions::split_title(title);
        if id.is_empty() {
            return Err(text.error(header, "expected the id of a motif after '>'"));
        }
        motifs.push(super::positions::motif_of_counts(id, name, &counts));
    }
    Ok(motifs)
}

fn read_letter(
    text: &Text,
    line: usize,
    letter: char,
    first: Option<&Vec<f64>>,
) -> Result<Vec<f64>> {
    let content = text.lines[line].trim();
    let stated = content.chars().next().filter(char::is_ascii_alphabetic);
    if let Some(stated) =
        stated.filter(|stated| !(*stated == letter || (letter, *stated) == ('T', 'U')))
    {
        return Err(text.error(line, format!("expected the line for {letter}, found {stated}")));
    }
    let row = values(content)
        .map_err(|word| text.error(line, format!("expected a number, found '{word}'")))?;
    match first {
        Some(first) if first.len() != row.len() => Err(text.error(
            line,
            format!("expected {} numbers as for A, found {}", first.len(), row.len()),
        )),
        _ => Ok(row),
    }
}
