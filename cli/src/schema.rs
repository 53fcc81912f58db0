//! `careplane schema`.

use std::process::ExitCode;

use crate::out;

#[derive(clap::Args)]
pub struct Arguments {
    /// Of what
    #[arg(value_enum, default_value_t = Of::Policy)]
    of: Of,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Of {
    /// The policy document
    Policy,
    /// What `careplane audit verify --format json` prints
    Verification,
    /// What `careplane diff -o json` prints
    Diff,
}

/// Prints a JSON Schema.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let schema = match arguments.of {
        Of::Policy => careplane_policy::schema::json_schema()?,
        Of::Verification => careplane_evidence::verify::json_schema()?,
        Of::Diff => crate::diff::json_schema()?,
    };
    out::print(&schema)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    /// The names of all fields in a schema, at any depth.
    fn fields(schema: &Value, found: &mut Vec<String>) {
        let members = schema.as_object().into_iter().flatten();
        for (name, member) in members {
            if name == "properties" {
                found.extend(member.as_object().into_iter().flatten().map(|(field, _)| field.clone()));
            }
            fields(member, found);
        }
        schema.as_array().into_iter().flatten().for_each(|item| fields(item, found));
    }

    #[test]
    fn the_page_has_every_field_of_a_policy() {
        let schema = careplane_policy::schema::json_schema().unwrap();
        let mut names = Vec::new();
        fields(&serde_json::from_str(&schema).unwrap(), &mut names);
        let pages = [include_str!("../../docs/policy.md"), include_str!("../../docs/directory.md")].concat();
        let words: Vec<&str> = pages.split(|it: char| !it.is_ascii_alphanumeric()).collect();
        let absent: Vec<&String> = names.iter().filter(|name| !words.contains(&name.as_str())).collect();
        assert!(names.len() > 50 && absent.is_empty(), "{absent:?}");
    }
}
