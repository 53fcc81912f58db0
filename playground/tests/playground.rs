//! The page that `make playground` builds, in a real browser: type, see, fix; for everyone; and without a network.

#[path = "../../evidence/tests/tools/mod.rs"]
mod tools;

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use tools::browser::Shown;
use tools::{Tool, tool};

/// A telephone, a tablet, a screen.
const WIDTHS: [u32; 3] = [390, 820, 1280];
/// What axe has to say to it.
const AXE: &str = "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', \
                   'best-practice']}).then(it => it.violations.map(it => [it.id, it.nodes.map(it => it.html.slice(0, \
                   200) + ' ' + it.failureSummary)]))";
const DECISION: &str = "document.getElementById('decision').textContent";
const REFUSED: &str = "A proxy would refuse this policy: see the findings.";
const LISTED: &str = "[...document.querySelectorAll('#findings li')].map(it => it.className)";

/// The page in a browser, as soon as it has answered for the first time. None where one of the two is not there.
fn playground() -> Option<Shown> {
    let browser = tool(Tool::Chromium)?;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("page/playground.html");
    let Ok(page) = fs::read_to_string(page) else {
        let message = "SKIPPED: the playground, because it is not built (make playground)";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
        let _ = writeln!(std::io::stderr(), "{message}");
        return None;
    };
    let mut shown = Shown::new(&browser, &page);
    until(&mut shown, &format!("{DECISION} === 'allowed'"));
    Some(shown)
}

/// Waits until an expression is true.
fn until(shown: &mut Shown, expression: &str) {
    let waits = format!(
        "new Promise(done => {{ const look = () => {expression} ? done(true) : setTimeout(look, 10); look(); }})"
    );
    assert_eq!(shown.ask(&waits), true);
}

/// The cursor at the end of a line of the policy, as a click there.
fn go_to_line(shown: &mut Shown, line: usize) {
    let line = format!("document.querySelectorAll('.cm-line')[{line} - 1]");
    shown.ask(&format!(
        "{{ document.querySelector('.cm-content').focus(); getSelection().selectAllChildren({line}); \
         getSelection().collapseToEnd(); 0 }}"
    ));
    until(shown, &format!("{line}.className.includes('cm-activeLine')"));
}

/// Name, now and before of the decisions that differ.
fn differences(shown: &mut Shown) -> Value {
    shown.ask("[...document.querySelectorAll('tr.changed')].map(it => [...it.children].map(it => it.textContent))")
}

#[test]
fn a_mistake_is_seen_while_it_is_typed_and_fixed_by_completion() {
    let Some(mut shown) = playground() else { return };
    assert_eq!(shown.ask(LISTED), json!([]));
    // "complianceLevel: critical"
    go_to_line(&mut shown, 9);
    shown.press("Backspace", "");
    until(&mut shown, &format!("{DECISION} === '{REFUSED}'"));
    assert_eq!(shown.ask(LISTED), json!(["error"]));
    let message = shown.ask("document.querySelector('#findings p').textContent");
    assert!(message.as_str().unwrap().contains("line 9, column 22: contexts[0].complianceLevel"), "{message}");
    until(&mut shown, "document.querySelectorAll('.cm-lint-marker-error').length === 1");
    assert_eq!(shown.ask("document.querySelector('.cm-lintRange-error').textContent"), "critica");
    assert!(shown.ask("document.getElementById('status').textContent").as_str().unwrap().contains("1 error,"));

    (0.."critica".len()).for_each(|_| shown.press("Backspace", ""));
    shown.press("Space", "Control");
    until(&mut shown, "document.querySelectorAll('.cm-tooltip-autocomplete li').length === 4");
    let offered = shown.ask("[...document.querySelectorAll('.cm-completionLabel')].map(it => it.textContent)");
    assert_eq!(offered, json!(["critical", "high", "standard", "low"]));
    // Keys within 75 ms of the list are taken for typing.
    shown.ask("new Promise(done => setTimeout(done, 100))");
    shown.press("Enter", "");
    until(&mut shown, &format!("{DECISION} === 'allowed'"));
    assert_eq!(shown.ask(LISTED), json!([]));
    assert_eq!(shown.trouble, Vec::<String>::new());
}

#[test]
fn a_change_of_the_policy_is_compared_with_the_version_before() {
    let Some(mut shown) = playground() else { return };
    assert!(shown.ask("document.getElementById('back').disabled").as_bool().unwrap());
    // "tier: always"
    go_to_line(&mut shown, 10);
    (0.."always".len()).for_each(|_| shown.press("Backspace", ""));
    shown.type_text("default");
    until(&mut shown, "document.querySelector('tr.changed') !== null");
    let trace = json!(["trace (differs)", "kept: tier default, 10 %", "kept: tier always, 100 %"]);
    assert!(differences(&mut shown).as_array().unwrap().contains(&trace));
    let caption = shown.ask("document.getElementById('facts-caption').textContent");
    assert!(caption.as_str().unwrap().ends_with("from the version before."), "{caption}");
    shown.ask("document.getElementById('back').click()");
    until(&mut shown, "document.querySelector('tr.changed') === null && document.getElementById('back').disabled");
    assert_eq!(shown.trouble, Vec::<String>::new());
}

#[test]
fn a_request_is_refused_and_says_by_which_line() {
    let Some(mut shown) = playground() else { return };
    shown.ask(
        "{ const it = document.getElementById('example'); it.value = 2; it.dispatchEvent(new Event('change')); 0 }",
    );
    until(&mut shown, &format!("{DECISION} === 'denied with 403, tenant-conflict, by tracing-tags'"));
    // A field, as a person fills it.
    shown.ask("{ const it = document.getElementById('path'); it.focus(); it.select(); 0 }");
    shown.type_text("/api/v1/residents/r-7");
    until(&mut shown, &format!("{DECISION} === 'allowed'"));
    shown.ask("[...document.querySelectorAll('#text a')].find(it => it.textContent === 'policy.yaml:21:9').click()");
    until(&mut shown, "document.activeElement.className.includes('cm-content')");
    assert_eq!(
        shown.ask("document.querySelector('.cm-activeLine').textContent.trim()"),
        "- {path: \"/api/v1/residents/{id}\"}"
    );
    // What is no request is said, and what follows is answered.
    shown.ask("{ const it = document.getElementById('claims'); it.focus(); it.select(); 0 }");
    shown.type_text("{");
    until(&mut shown, &format!("{DECISION}.startsWith('--claims is not JSON')"));
    shown.type_text("}");
    until(&mut shown, &format!("{DECISION} === 'denied with 403, tenant-missing, by tracing-tags'"));
    assert_eq!(shown.trouble, Vec::<String>::new());
}

#[test]
fn nothing_leaves_the_page() {
    let Some(mut shown) = playground() else { return };
    assert_eq!(shown.trouble, Vec::<String>::new());
    // Not even what the page itself would like to send.
    let refused = |what: &str| {
        format!(
            "new Promise(done => {{ document.addEventListener('securitypolicyviolation', it => \
             done(it.effectiveDirective), {{once: true}}); {what}; }})"
        )
    };
    let attempts = [
        ("fetch('http://127.0.0.1:9/').catch(() => {})", "connect-src"),
        ("new Image().src = 'http://127.0.0.1:9/'", "img-src"),
        (
            "document.head.append(Object.assign(document.createElement('script'), {textContent: '0'}))",
            "script-src-elem",
        ),
        (
            "document.head.append(Object.assign(document.createElement('link'), {rel: 'stylesheet', href: \
             'http://127.0.0.1:9/'}))",
            "style-src-elem",
        ),
    ];
    for (what, directive) in attempts {
        assert_eq!(shown.ask(&refused(what)), directive, "{what}");
    }
}

#[test]
fn everyone_can_use_it_by_day_and_by_night() {
    let (Some(mut shown), Some(axe)) = (playground(), tool(Tool::Axe)) else { return };
    shown.ask(&format!("{}; 0", fs::read_to_string(&axe).unwrap()));
    shown.resize(1280);
    for state in ["begin", "compared", "broken", "completing"] {
        match state {
            "compared" => {
                go_to_line(&mut shown, 10);
                shown.type_text("s");
                until(&mut shown, &format!("{DECISION} === '{REFUSED}'"));
                (0.."alwayss".len()).for_each(|_| shown.press("Backspace", ""));
                shown.type_text("clinical");
                until(&mut shown, "document.querySelector('tr.changed') !== null");
            }
            "broken" => {
                shown.type_text("\n    sub");
                until(&mut shown, &format!("{DECISION} === '{REFUSED}'"));
            }
            "completing" => {
                shown.press("Space", "Control");
                until(&mut shown, "document.querySelector('.cm-tooltip-autocomplete') !== null");
            }
            _ => {}
        }
        for scheme in ["light", "dark"] {
            shown.prefer(scheme);
            shown.picture(&format!("playground-{state}-{scheme}"));
            assert_eq!(shown.ask(AXE), json!([]), "{state}, {scheme}");
        }
    }
    // Tab leaves the editor.
    shown.press("Escape", "");
    shown.press("Tab", "");
    assert_eq!(shown.ask("document.activeElement.closest('.cm-editor')"), Value::Null);
    assert_eq!(shown.trouble, Vec::<String>::new());
}

#[test]
fn nothing_is_wider_than_the_page_on_a_telephone_or_a_screen() {
    let Some(mut shown) = playground() else { return };
    for width in WIDTHS {
        shown.resize(width);
        shown.picture(&format!("playground-{width}"));
        let wide = shown.ask(
            "[...document.querySelectorAll('body *')].filter(it => it.getBoundingClientRect().right > \
             document.documentElement.clientWidth + 0.5).map(it => it.outerHTML.slice(0, 120))",
        );
        assert_eq!(wide, json!([]), "at {width} px");
        assert_eq!(
            shown.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth"),
            true,
            "at {width} px"
        );
    }
}
