//! NHS numbers to hide in requests, and the search for them in what came out.

use std::collections::HashMap;

/// A valid NHS number: nine digits of `serial` and the check digit (NHS Data Dictionary). Serials whose check digit
/// would be ten have no number; the next serial stands in.
pub fn number(serial: u32) -> String {
    let body = format!("{:09}", 943_000_000 + serial * 100);
    (0..)
        .map(|step| format!("{:09}", body.parse::<u32>().expect("nine digits") + step))
        .find_map(|body| check_digit(&body).map(|check| format!("{body}{check}")))
        .expect("not all serials lack a number")
}

fn check_digit(body: &str) -> Option<u32> {
    let digits = body.chars().filter_map(|digit| digit.to_digit(10));
    let sum: u32 = digits.zip((2..=10).rev()).map(|(digit, weight)| digit * weight).sum();
    match 11 - sum % 11 {
        10 => None,
        11 => Some(0),
        check => Some(check),
    }
}

/// `943 476 5919`, with any separator.
pub fn spaced(number: &str, separator: &str) -> String {
    [&number[..3], &number[3..6], &number[6..]].join(separator)
}

/// A text in which numbers are looked for, unescaped and without separators.
pub struct Haystack {
    /// The first line that shows each ten digits in a row, as it was.
    lines: HashMap<String, String>,
}

// === impl Haystack ===

impl Haystack {
    pub fn new(text: &str) -> Self {
        let mut lines = HashMap::new();
        for line in text.lines() {
            // Escaped twice or thrice is still readable.
            let plain = (0..3).fold(line.to_owned(), |text, _| unescape(&text));
            let squeezed: String = plain.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '_' | '+')).collect();
            for digits in [line, &plain, &squeezed].into_iter().flat_map(ten_digits) {
                lines.entry(digits.to_owned()).or_insert_with(|| line.to_owned());
            }
        }
        Self { lines }
    }

    /// The first line that shows `number`, spaced or escaped in whatever way.
    pub fn find(&self, number: &str) -> Option<&str> {
        self.lines.get(number).map(String::as_str)
    }
}

/// All ten digits in a row, also those within more.
fn ten_digits(text: &str) -> impl Iterator<Item = &str> {
    let runs = text.split(|c: char| !c.is_ascii_digit()).filter(|run| run.len() >= 10);
    runs.flat_map(|run| (10..=run.len()).map(move |end| &run[end - 10..end]))
}

/// Whether `text` shows `number`, spaced or escaped in whatever way.
pub fn shows(text: &str, number: &str) -> bool {
    Haystack::new(text).find(number).is_some()
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let decoded = after.get(..2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).filter(u8::is_ascii);
        match decoded {
            Some(byte) => {
                plain.push(byte.into());
                rest = &after[2..];
            }
            None => {
                plain.push('%');
                rest = after;
            }
        }
    }
    plain + rest
}
