//! NHS numbers to hide in requests, and the search for them in what came out.

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
    /// As it was, as it reads, and as it reads without separators, line by line.
    lines: Vec<[String; 3]>,
}

// === impl Haystack ===

impl Haystack {
    pub fn new(text: &str) -> Self {
        let read = |line: &str| {
            // Escaped twice or thrice is still readable.
            let plain = (0..3).fold(line.to_owned(), |text, _| unescape(&text));
            let squeezed = plain.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '_' | '+')).collect();
            [line.to_owned(), plain, squeezed]
        };
        Self { lines: text.lines().map(read).collect() }
    }

    /// The first line that shows `number`, spaced or escaped in whatever way.
    pub fn find(&self, number: &str) -> Option<&str> {
        self.lines.iter().find(|forms| forms.iter().any(|form| form.contains(number))).map(|[line, ..]| line.as_str())
    }
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
