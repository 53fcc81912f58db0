//! An audit record, as a person looks at it.

use serde_json::Value;

use crate::terminal::{columns, fill};

/// Reads one audit record. What is not in it is `None`, not an error: records say less about a request that was refused
/// early.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a>(pub &'a Value);

impl<'a> Record<'a> {
    /// The text at `pointer` (RFC 6901).
    #[must_use]
    pub fn text(self, pointer: &str) -> Option<&'a str> {
        self.0.pointer(pointer)?.as_str()
    }

    /// The texts in the list at `pointer`; none without such a list.
    #[must_use]
    pub fn texts(self, pointer: &str) -> Vec<&'a str> {
        let list = self.0.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The status that was answered.
    #[must_use]
    pub fn status(self) -> Option<u64> {
        self.0.pointer("/outcome/status")?.as_u64()
    }

    /// Whether the trace was kept.
    #[must_use]
    pub fn kept(self) -> Option<bool> {
        self.0.pointer("/trace/sampled")?.as_bool()
    }

    /// Why the trace was kept or not: the reason, and the rate where the tier was the reason.
    #[must_use]
    pub fn why(self) -> Option<String> {
        let reason = self.text("/trace/reason")?;
        Some(match self.text("/trace/rate") {
            Some(rate) if reason == "tier" => format!("tier {rate}%"),
            _ => reason.to_owned(),
        })
    }

    /// Who refused the request, and why.
    #[must_use]
    pub fn refusal(self) -> Option<(&'a str, &'a str)> {
        self.text("/decision/by").zip(self.text("/decision/reason"))
    }

    /// One line: number, status, request, tenant, context, level, trace, route, refusal.
    #[must_use]
    pub fn line(self) -> String {
        let number = self.0.pointer("/chain/seq").and_then(Value::as_u64).unwrap_or_default();
        let status = self.status().map_or_else(|| "-".to_owned(), |status| status.to_string());
        let or_dash = |pointer| self.text(pointer).unwrap_or("-");
        let kept = if self.kept() == Some(true) { "kept" } else { "not kept" };
        let mut line = format!(
            "#{number} {status} {} {}  {}  {}/{}  {kept}: {}",
            or_dash("/request/method"),
            self.text("/request/pathTemplate").unwrap_or("(no template)"),
            or_dash("/tenant/id"),
            or_dash("/context/name"),
            or_dash("/context/complianceLevel"),
            self.why().unwrap_or_default(),
        );
        if let Some(cluster) = self.text("/outcome/cluster") {
            line.push_str(&format!("  {} → {cluster}", or_dash("/tenant/pool")));
        }
        if let Some((by, reason)) = self.refusal() {
            line.push_str(&format!("  refused by {by}: {reason}"));
        }
        let forged = self.texts("/who/forgedHeaders");
        if !forged.is_empty() {
            line.push_str(&format!("  removed {}", forged.join(", ")));
        }
        line
    }

    /// The whole record as JSON: a line for each member, or more where it would be longer than `width`.
    #[must_use]
    pub fn pretty(self, width: usize) -> String {
        let Some(members) = self.0.as_object() else {
            return self.0.to_string();
        };
        let longest = members.keys().map(|name| columns(name)).max().unwrap_or_default();
        let lines: Vec<String> = members
            .iter()
            .map(|(name, value)| {
                let head = format!("  {:<1$}", format!("\"{name}\":"), longest + 4);
                let indent = format!("\n{}", " ".repeat(columns(&head) + 1));
                head.clone() + &fill(parts(value), width - columns(&head)).join(&indent)
            })
            .collect();
        format!("{{\n{}\n}}", lines.join(",\n"))
    }
}

/// `value` as JSON, cut where a line may break: between the members of an object.
fn parts(value: &Value) -> Vec<String> {
    let Some(members) = value.as_object().filter(|members| !members.is_empty()) else {
        return vec![value.to_string()];
    };
    let last = members.len() - 1;
    let member = |(index, (name, value)): (usize, (&String, &Value))| {
        let (open, close) = (if index == 0 { "{" } else { "" }, if index == last { "}" } else { "," });
        format!("{open}{}: {value}{close}", Value::from(name.as_str()))
    };
    members.iter().enumerate().map(member).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pretty_record_is_the_same_record_in_short_lines() {
        let record = json!({
            "schema": "careplane.audit/v1",
            "outcome": {"status": 503, "flags": ["UF"], "details": "x".repeat(30), "durationMicros": 7},
            "tenant": {"jurisdiction": "scotland", "regulator": "Care Inspectorate"},
            "who": {},
        });
        let pretty = Record(&record).pretty(60);
        assert_eq!(serde_json::from_str::<Value>(&pretty).unwrap(), record);
        assert!(pretty.lines().all(|line| columns(line) <= 60), "{pretty}");
    }

    #[test]
    fn a_line_names_the_refusal_and_what_is_missing() {
        let record = json!({
            "chain": {"seq": 3},
            "decision": {"by": "jwt_authn", "reason": "Jwt_is_missing", "result": "denied"},
            "context": {"name": "general", "complianceLevel": "standard"},
            "outcome": {"status": 401},
            "request": {"method": "GET"},
            "trace": {"rate": "10", "reason": "tier", "sampled": false},
        });
        let expected =
            "#3 401 GET (no template)  -  general/standard  not kept: tier 10%  refused by jwt_authn: Jwt_is_missing";
        assert_eq!(Record(&record).line(), expected);
    }
}
