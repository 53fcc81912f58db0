//! Tells the linker to write addresses in as few bytes as they need; it would pad each to five.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_FAMILY").as_deref() == Ok("wasm") {
        println!("cargo:rustc-link-arg-cdylib=--compress-relocations");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
