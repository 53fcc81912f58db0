//! Path templates: `/residents/{id}`, `/files/{*rest}`.

use std::sync::Arc;

use crate::path;

/// A path template that is valid by construction: in the normal form of [`path`], parameters as whole segments, each
/// name once, a `{*rest}` only at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: Arc<str>,
    parameters: Vec<Parameter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameter {
    name: Arc<str>,
    /// Which segment of the path it is, from 0.
    segment: usize,
    /// Whether it is all segments from there on.
    rest: bool,
}

// === impl Template ===

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, and what would be accepted, to follow the quoted text.
    #[inline(never)]
    pub fn new(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err("must start with \"/\"".into());
        }
        // Braces are the only thing that a template has and a path has not.
        // By bytes, here and below: there can be thousands of templates, and a searcher for characters is slow.
        if text.bytes().any(|byte| matches!(byte, b'?' | b'#')) || !path::is_normal(text) {
            let normal = path::normalise(text.as_bytes());
            return Err(format!("is not how requests are matched: write \"{normal}\""));
        }
        let mut parameters: Vec<Parameter> = Vec::new();
        let mut segments = Segments(text.get(1..)).enumerate().peekable();
        while let Some((segment, part)) = segments.next() {
            if !part.bytes().any(|byte| matches!(byte, b'{' | b'}')) {
                continue;
            }
            let inner = part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'))
                .ok_or_else(|| format!("has \"{part}\": a parameter is a whole segment, {{name}} or {{*name}}"))?;
            let rest = inner.strip_prefix('*');
            let name = rest.unwrap_or(inner);
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            {
                return Err(format!("has the parameter \"{{{inner}}}\": names are of [A-Za-z0-9_-]"));
            }
            if rest.is_some() && segments.peek().is_some() {
                return Err(format!("has \"{part}\" before its end: only the last segment can take the rest"));
            }
            if parameters.iter().any(|known| &*known.name == name) {
                return Err(format!("has the parameter \"{name}\" twice"));
            }
            parameters.push(Parameter { name: name.into(), segment, rest: rest.is_some() });
        }
        Ok(Self { text: text.into(), parameters })
    }

    /// The template as it is written in the document.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether it has a parameter of this name.
    pub fn has(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| &*parameter.name == name)
    }

    /// What a parameter captures of a normal path that this template matches.
    pub fn capture<'p>(&self, name: &str, normal_path: &'p str) -> Option<&'p str> {
        let parameter = self.parameters.iter().find(|parameter| &*parameter.name == name)?;
        let mut rest = normal_path.strip_prefix('/')?;
        for _ in 0..parameter.segment {
            rest = rest.get(slash(rest)?.checked_add(1)?..)?;
        }
        if parameter.rest { Some(rest) } else { rest.get(..slash(rest).unwrap_or(rest.len())) }
    }
}

// === impl Segments ===

/// The segments of a path, without its first slash.
struct Segments<'t>(Option<&'t str>);

impl<'t> Iterator for Segments<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let text = self.0?;
        let end = slash(text);
        self.0 = end.and_then(|end| text.get(end.checked_add(1)?..));
        text.get(..end.unwrap_or(text.len()))
    }
}

/// Where the next slash is. By bytes: a searcher for a character takes longer to set up than most paths are.
fn slash(text: &str) -> Option<usize> {
    text.bytes().position(|byte| byte == b'/')
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        for (text, problem) in [
            ("api/x", "must start with \"/\""),
            ("", "must start with \"/\""),
            ("/api/x/", "is not how requests are matched: write \"/api/x\""),
            ("/api//x", "is not how requests are matched: write \"/api/x\""),
            ("/api/%41", "is not how requests are matched: write \"/api/A\""),
            ("/api?x", "is not how requests are matched: write \"/api\""),
            ("/api/{id}.json", "has \"{id}.json\": a parameter is a whole segment, {name} or {*name}"),
            ("/api/{}", "has the parameter \"{}\": names are of [A-Za-z0-9_-]"),
            ("/api/{a b}", "has the parameter \"{a b}\": names are of [A-Za-z0-9_-]"),
            ("/{*rest}/x", "has \"{*rest}\" before its end: only the last segment can take the rest"),
            ("/{id}/x/{id}", "has the parameter \"id\" twice"),
        ] {
            assert_eq!(Template::new(text).unwrap_err(), problem, "{text}");
        }
    }

    #[test]
    fn parameters_capture_whole_segments() {
        let template = Template::new("/homes/{home}/files/{*rest}").unwrap();
        let path = "/homes/Oak-1/files/a/b c";
        assert_eq!(template.capture("home", path), Some("Oak-1"));
        assert_eq!(template.capture("rest", path), Some("a/b c"));
        assert_eq!(template.capture("other", path), None);
    }
}
