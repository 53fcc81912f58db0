//! Takes the playground's page into the program, where `make playground` has built it. Without Node.js there is none,
//! and the command says so.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(playground)");
    println!("cargo::rerun-if-changed=build.rs");
    // The page has this library inside, so the library cannot have the page.
    if std::env::var_os("CARGO_FEATURE_COMMANDS").is_some() {
        println!("cargo::rerun-if-changed=../playground/page");
        if std::path::Path::new("../playground/page/playground.html").exists() {
            println!("cargo::rustc-cfg=playground");
        }
    }
}
