//! Spellings of a path, and what Envoy makes of them before it authorizes.

/// `meshConfig.pathNormalization.normalization`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalization {
    None,
    /// RFC 3986: dots and what need not be escaped; `\` as `/`.
    Base,
    /// Also `//`.
    MergeSlashes,
    /// Also `%2F` and `%5C`.
    DecodeAndMergeSlashes,
}

/// A path that careplane reads as another, plainer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    pub path: String,
}

// === impl Normalization ===

impl Normalization {
    pub fn of(name: &str) -> Self {
        match name {
            "NONE" => Self::None,
            "MERGE_SLASHES" => Self::MergeSlashes,
            "DECODE_AND_MERGE_SLASHES" => Self::DecodeAndMergeSlashes,
            _ => Self::Base, // and DEFAULT
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Base => "BASE",
            Self::MergeSlashes => "MERGE_SLASHES",
            Self::DecodeAndMergeSlashes => "DECODE_AND_MERGE_SLASHES",
        }
    }

    /// The path that an AuthorizationPolicy sees. A test holds it against Envoy, for the spellings of [`all`].
    pub fn apply(self, path: &str) -> String {
        let mut path = path.to_owned();
        if self == Self::None {
            return path;
        }
        if self == Self::DecodeAndMergeSlashes {
            for escaped in ["%2F", "%2f", "%5C", "%5c"] {
                path = path.replace(escaped, "/");
            }
        }
        path = unescape(&path).replace('\\', "/");
        path = without_dots(&path);
        if matches!(self, Self::MergeSlashes | Self::DecodeAndMergeSlashes) {
            while path.contains("//") {
                path = path.replace("//", "/");
            }
        }
        path
    }
}

/// Decodes letters and digits: what need not be escaped.
fn unescape(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|byte| byte.is_ascii_alphanumeric()) {
            Some(byte) => {
                decoded.push(char::from(byte));
                rest = &after[2..];
            }
            None => {
                decoded.push('%');
                rest = after;
            }
        }
    }
    decoded + rest
}

/// RFC 3986 §5.2.4, where a dot can also be `%2e`, and parameters can follow it.
fn without_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in path.split('/').skip(1) {
        let dots = segment.to_ascii_lowercase().replace("%2e", ".");
        let dots = dots.split(';').next().unwrap_or_default().to_owned();
        ends_open = matches!(dots.as_str(), "." | "..");
        match dots.as_str() {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    if ends_open {
        segments.push("");
    }
    format!("/{}", segments.join("/"))
}

/// Spellings of a path, one of each kind that `filters/policy/src/path.rs` has in its table.
pub fn all(path: &str) -> Vec<Spelling> {
    let mut spellings = vec![format!("{path};v=1"), format!("{path}/")];
    let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
    if let Some(first) = last.chars().next().filter(char::is_ascii_alphabetic) {
        let rest = &last[1..];
        spellings.push(format!("{parent}/{}{rest}", first.to_ascii_uppercase()));
        spellings.push(format!("{parent}/%{:02X}{rest}", u32::from(first)));
    }
    spellings.push(format!("{parent}//{last}"));
    spellings.push(format!("{parent}/./{last}"));
    spellings.push(format!("{parent}/x/../{last}"));
    spellings.push(format!("{parent}/x/%2e%2e/{last}"));
    spellings.push(format!("{parent}/x/..;/{last}"));
    spellings.push(format!("{parent}/x/..;v=1/{last}"));
    if !parent.is_empty() {
        spellings.push(format!("{parent}%2F{last}"));
        spellings.push(format!("{parent}%5C{last}"));
        spellings.push(format!("{parent}\\{last}"));
    }
    spellings.into_iter().filter(|spelling| spelling != path).map(|path| Spelling { path }).collect()
}

/// Whether a pattern of an AuthorizationPolicy takes a path (or another text): `exact`, `prefix*`, `*suffix`, `*`, and
/// templates with `{*}` for a segment and `{**}` for several.
pub fn matches(pattern: &str, text: &str) -> bool {
    if pattern.contains("{*}") || pattern.contains("{**}") {
        let regex = pattern
            .split("{**}")
            .map(|part| part.split("{*}").map(regex::escape).collect::<Vec<_>>().join("[^/]+"))
            .collect::<Vec<_>>()
            .join(".*");
        return regex::Regex::new(&format!(r"\A{regex}\z")).is_ok_and(|regex| regex.is_match(text));
    }
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(prefix), _) if !prefix.is_empty() => text.starts_with(prefix),
        (_, Some(suffix)) if !suffix.is_empty() => text.ends_with(suffix),
        (Some(_), _) => !text.is_empty(),
        _ => pattern == text,
    }
}
