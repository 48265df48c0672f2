//! Groups the rows of a CSV by one column, and counts, sums and averages another.
//!
//! The first line names both: `#group_by=region,value=amount`. The rest is CSV with a header.

mod decimal;

use std::collections::BTreeMap;
use std::fmt::Write;

use csv::{Reader, StringRecord};
use decimal::Decimal;
use stockade_guest::{Rejection, log};

type Groups = BTreeMap<String, Tally>;

#[derive(Default)]
struct Tally {
    count: u64,
    sum: Decimal,
}

impl Tally {
    fn add(&mut self, figure: Decimal) {
        self.count += 1;
        self.sum += figure;
    }
}

stockade_guest::task!(aggregate);

fn aggregate(input: &[u8]) -> Result<Vec<u8>, Rejection> {
    let text = std::str::from_utf8(input).map_err(|_| no("the input is not UTF-8"))?;
    let (first, table) = text
        .split_once('\n')
        .ok_or_else(|| no("there is no table"))?;
    let (group_by, value) = parse_question(first.trim_end())?;
    let mut rows = Reader::from_reader(table.as_bytes());
    let header = rows.headers().map_err(|error| bad_row(&error))?.clone();
    let (key, figure) = (
        find_column(&header, group_by)?,
        find_column(&header, value)?,
    );
    let groups = collect_groups(&mut rows, key, figure)?;
    Ok(render(&groups).into_bytes())
}

fn parse_question(line: &str) -> Result<(&str, &str), Rejection> {
    line.strip_prefix("#group_by=")
        .and_then(|rest| rest.split_once(",value="))
        .ok_or_else(|| no("the first line must read #group_by=COLUMN,value=COLUMN"))
}

fn find_column(header: &StringRecord, name: &str) -> Result<usize, Rejection> {
    let place = header.iter().position(|column| column == name);
    place.ok_or_else(|| no(format!("there is no column {name:?}")))
}

/// Rows without a figure are left out, which the log tells.
fn collect_groups(
    rows: &mut Reader<&[u8]>,
    key: usize,
    figure: usize,
) -> Result<Groups, Rejection> {
    let (mut groups, mut blank) = (Groups::new(), 0_u32);
    let mut row = StringRecord::new();
    while rows
        .read_record(&mut row)
        .map_err(|error| bad_row(&error))?
    {
        match row[figure].trim() {
            "" => blank += 1,
            text => {
                let value = Decimal::parse(text).ok_or_else(|| bad_figure(&row, text))?;
                groups.entry(row[key].to_owned()).or_default().add(value);
            }
        }
    }
    if blank > 0 {
        log::warn(&format!("rows without a figure, left out: {blank}"));
    }
    Ok(groups)
}

fn render(groups: &Groups) -> String {
    let mut lines = Vec::with_capacity(groups.len());
    for (name, Tally { count, sum }) in groups {
        let (name, mean) = (quote(name), sum.divide(*count));
        lines.push(format!(
            r#"  {{"group": {name}, "count": {count}, "sum": {sum}, "mean": {mean}}}"#
        ));
    }
    format!("[\n{}\n]\n", lines.join(",\n"))
}

fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..=' ' if character != ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

fn bad_row(error: &csv::Error) -> Rejection {
    no(format!("the table cannot be read: {error}"))
}

fn bad_figure(row: &StringRecord, text: &str) -> Rejection {
    // The question took the first line, which the CSV reader does not know of.
    let line = row.position().map_or(0, |position| position.line() + 1);
    no(format!("line {line}: {text:?} is no plain decimal number"))
}

fn no(message: impl Into<String>) -> Rejection {
    Rejection::permanent(message)
}

#[cfg(test)]
mod tests {
    use super::{aggregate, quote};

    fn reason(input: &[u8]) -> String {
        aggregate(input)
            .expect_err("a rejection")
            .message()
            .to_owned()
    }

    #[test]
    fn groups_are_counted_summed_and_averaged() {
        let output =
            aggregate(b"#group_by=k,value=v\nk,v\na,0.1\nb,7\na,0.2\na,\n").expect("output");
        let expected = "[\n  {\"group\": \"a\", \"count\": 2, \"sum\": 0.3, \"mean\": 0.15},\n  \
                        {\"group\": \"b\", \"count\": 1, \"sum\": 7, \"mean\": 7}\n]\n";
        assert_eq!(String::from_utf8(output).expect("UTF-8"), expected);
    }

    #[test]
    fn a_bad_figure_is_named_by_its_line() {
        let input = b"#group_by=k,value=v\nk,v\na,1\nb,many\n";
        assert_eq!(reason(input), "line 4: \"many\" is no plain decimal number");
    }

    #[test]
    fn a_table_that_does_not_fit_is_rejected() {
        assert_eq!(reason(b""), "there is no table");
        assert_eq!(reason(b"\xff"), "the input is not UTF-8");
        assert!(reason(b"k,v\na,1\n").starts_with("the first line must read"));
        assert_eq!(
            reason(b"#group_by=x,value=v\nk,v\n"),
            "there is no column \"x\""
        );
        assert!(reason(b"#group_by=k,value=v\nk,v\na\n").starts_with("the table cannot be read"));
    }

    #[test]
    fn names_are_json_strings() {
        assert_eq!(quote("a\"b\\\n é"), "\"a\\\"b\\\\\\u000a é\"");
    }
}
