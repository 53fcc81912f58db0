//! What `kubectl` makes of a word without quotes. Its reader, sigs.k8s.io/yaml, has YAML 1.1, and names of maps are
//! what the word resolves to: `0042` is 34, `off` is false. kustomize leaves the words as they are.

use serde_json::{Number, Value};

/// A value that `kubectl` reads otherwise than it is read here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// What is written.
    pub written: Box<str>,
    /// What `kubectl` makes of it; none where it refuses the document.
    pub read: Option<Box<str>>,
}

enum Resolved {
    Text,
    Null,
    Bool(bool),
    Int(i64),
    /// Too large for an [`i64`].
    Large(u64),
    Float(f64),
}

/// What becomes of a key. None where it is read as it is written.
pub fn misread_key(written: &str) -> Option<Misread> {
    let read = match resolve(written) {
        Resolved::Text => return None,
        Resolved::Null | Resolved::Large(_) => None,
        Resolved::Bool(value) => Some(value.to_string()),
        Resolved::Int(value) => Some(value.to_string()),
        Resolved::Float(value) => Some(float_key(value)),
    };
    let misread = Misread { written: written.into(), read: read.map(Into::into) };
    (misread.read.as_deref() != Some(written)).then_some(misread)
}

/// What becomes of a value that is read as `here`. None where it is the same.
pub fn misread_value(written: &str, here: &Value) -> Option<Misread> {
    let read = match resolve(written) {
        Resolved::Text => Some(Value::from(written)),
        Resolved::Null => Some(Value::Null),
        Resolved::Bool(value) => Some(value.into()),
        Resolved::Int(value) => Some(value.into()),
        Resolved::Large(value) => Some(value.into()),
        // JSON has no infinity.
        Resolved::Float(value) => Number::from_f64(value).map(Value::Number),
    };
    let is_same = match (&read, here) {
        (Some(Value::Number(read)), Value::Number(here)) => read.as_f64() == here.as_f64(),
        (read, here) => read.as_ref() == Some(here),
    };
    let read = read.map(|read| read.to_string().into());
    (!is_same).then(|| Misread { written: written.into(), read })
}

/// As `resolve.go` of go.yaml.in/yaml/v2 does.
fn resolve(word: &str) -> Resolved {
    match word {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Resolved::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Resolved::Bool(false),
        "" | "~" | "null" | "Null" | "NULL" => Resolved::Null,
        ".nan" | ".NaN" | ".NAN" => Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Resolved::Float(f64::NEG_INFINITY),
        _ if word.starts_with(|first: char| first.is_ascii_digit() || "+-".contains(first)) => {
            number(&word.replace('_', ""))
        }
        _ if word.starts_with('.') => float(word),
        _ => Resolved::Text,
    }
}

fn number(word: &str) -> Resolved {
    let (sign, digits) = match word.split_at_checked(1) {
        Some((sign @ ("+" | "-"), digits)) => (sign, digits),
        _ => ("", word),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixes = [("0x", 16), ("0o", 8), ("0b", 2)];
    let prefixed = prefixes.iter().find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, *radix)));
    let octal = lower.strip_prefix('0').filter(|rest| !rest.is_empty()).map(|rest| (rest, 8));
    let (digits, radix) = prefixed.or(octal).unwrap_or((&lower, 10));
    if digits.chars().all(|digit| digit.is_digit(radix)) {
        if let Ok(value) = i64::from_str_radix(&format!("{sign}{digits}"), radix) {
            return Resolved::Int(value);
        }
        if let (true, Ok(value)) = (sign.is_empty(), u64::from_str_radix(digits, radix)) {
            return Resolved::Large(value);
        }
    }
    float(word)
}

fn float(word: &str) -> Resolved {
    // Rust knows names of infinity as well.
    let is_number = word.chars().all(|it| it.is_ascii_digit() || "+-.eE".contains(it));
    match word.parse::<f64>() {
        Ok(value) if is_number && value.is_finite() => Resolved::Float(value),
        _ => Resolved::Text,
    }
}

/// A float as a name: `%g` of Go for 32 bits, and YAML's words for what is not finite.
fn float_key(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    #[expect(clippy::cast_possible_truncation, reason = "as the other reader does")]
    let value = value as f32;
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What sigs.k8s.io/yaml 1.6.0 said: a word, the key that it makes, and the value in JSON.
    const SAID: [(&str, Option<&str>, Option<&str>); 54] = [
        ("0042", Some("34"), Some("34")),
        ("1_000", Some("1000"), Some("1000")),
        ("12E3", Some("12000"), Some("12000.0")),
        ("8E10", Some("8e+10"), Some("80000000000.0")),
        ("off", Some("false"), Some("false")),
        ("oFF", Some("oFF"), Some("\"oFF\"")),
        ("NO", Some("false"), Some("false")),
        ("n", Some("false"), Some("false")),
        ("y", Some("true"), Some("true")),
        ("true", Some("true"), Some("true")),
        ("True", Some("true"), Some("true")),
        ("0x1F", Some("31"), Some("31")),
        ("0X1F", Some("31"), Some("31")),
        ("-0x1F", Some("-31"), Some("-31")),
        ("+0x10", Some("16"), Some("16")),
        ("0b11", Some("3"), Some("3")),
        ("-0b11", Some("-3"), Some("-3")),
        ("0o17", Some("15"), Some("15")),
        ("017", Some("15"), Some("15")),
        ("-010", Some("-8"), Some("-8")),
        ("089", Some("89"), Some("89.0")),
        ("0_42", Some("34"), Some("34")),
        ("12", Some("12"), Some("12")),
        ("+5", Some("5"), Some("5")),
        ("-0", Some("0"), Some("0")),
        ("00", Some("0"), Some("0")),
        ("1_", Some("1"), Some("1")),
        ("_1", Some("_1"), Some("\"_1\"")),
        ("1.10", Some("1.1"), Some("1.1")),
        (".5", Some("0.5"), Some("0.5")),
        ("+.5", Some("0.5"), Some("0.5")),
        ("5.", Some("5"), Some("5.0")),
        ("1e5", Some("100000"), Some("100000.0")),
        ("1_0.5_0", Some("10.5"), Some("10.5")),
        ("0.1", Some("0.1"), Some("0.1")),
        ("0.30000000000000004", Some("0.3"), Some("0.30000000000000004")),
        ("12345678.9", Some("1.2345679e+07"), Some("12345678.9")),
        ("18446744073709551616", Some("1.8446744e+19"), Some("18446744073709552000.0")),
        ("18446744073709551615", None, Some("18446744073709551615")),
        ("1e400", Some("1e400"), Some("\"1e400\"")),
        (".inf", Some(".inf"), None),
        ("-.Inf", Some("-.inf"), None),
        (".nan", Some(".nan"), None),
        ("~", None, Some("null")),
        ("Null", None, Some("null")),
        ("1:30", Some("1:30"), Some("\"1:30\"")),
        ("2024-01-02", Some("2024-01-02"), Some("\"2024-01-02\"")),
        ("0xg", Some("0xg"), Some("\"0xg\"")),
        ("0b2", Some("0b2"), Some("\"0b2\"")),
        ("0x", Some("0x"), Some("\"0x\"")),
        ("+", Some("+"), Some("\"+\"")),
        (".", Some("."), Some("\".\"")),
        ("care-home-0042", Some("care-home-0042"), Some("\"care-home-0042\"")),
        ("a-1", Some("a-1"), Some("\"a-1\"")),
    ];

    #[test]
    fn words_are_what_kubectl_makes_of_them() {
        for (word, key, value) in SAID {
            let misread = misread_key(word);
            assert_eq!(misread.is_none(), key == Some(word), "{word}");
            assert_eq!(misread.map_or(Some(word.into()), |it| it.read).as_deref(), key, "{word}");
            // No reading of the word is this one, so it is reported.
            let misread = misread_value(word, &Value::from("another")).unwrap();
            let read = misread.read.map(|read| serde_json::from_str::<Value>(&read).unwrap());
            assert_eq!(read, value.map(|value| serde_json::from_str(value).unwrap()), "{word}");
        }
    }
}
