//! The day of the demo, as far as a browser can send it: without certificates, and no header twice.

use std::collections::BTreeSet;

use careplane_integration::compose::{Bearer, Scene};

use crate::demo::{Listener, Step, Token, day};

/// The scenes for the page of the composition.
pub fn scenes() -> Vec<Scene> {
    let is_shown = |step: &Step| step.listener == Listener::Gateway && !repeats(step) && !has_own_claims(step);
    day().into_iter().filter(is_shown).map(scene).collect()
}

/// A browser makes one header of two.
fn repeats(step: &Step) -> bool {
    let names: BTreeSet<&str> = step.headers.iter().map(|(name, _)| *name).collect();
    names.len() < step.headers.len()
}

/// The policy of the composition has no grants.
fn has_own_claims(step: &Step) -> bool {
    matches!(step.token, Token::With { .. })
}

fn scene(step: Step) -> Scene {
    let bearer = match step.token {
        Token::None | Token::With { .. } => None,
        Token::Of { tenant, user } => Some(Bearer { tenant: tenant.to_owned(), user: user.to_owned(), forged: false }),
        Token::Forged { tenant, user } => {
            Some(Bearer { tenant: tenant.to_owned(), user: user.to_owned(), forged: true })
        }
    };
    Scene {
        at: step.at.to_owned(),
        story: step.story.to_owned(),
        method: step.method.to_owned(),
        path: step.path.to_owned(),
        headers: step.headers.iter().map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]).collect(),
        draw: step.draw,
        bearer,
    }
}
