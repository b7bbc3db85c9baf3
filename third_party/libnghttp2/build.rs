//! Compiles nghttp2's library with the settings of the original crate. The bindings are in src/bindings.rs.

fn main() {
    println!("cargo:rerun-if-changed=nghttp2");
    let sources = std::fs::read_dir("nghttp2/lib").expect("the sources lie beside this file");
    let sources = sources.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "c"));
    cc::Build::new()
        .files(sources)
        .include("nghttp2/lib/includes")
        .define("NGHTTP2_STATICLIB", None)
        .define("HAVE_NETINET_IN", None)
        .define("HAVE_TIME_H", None)
        .define("HAVE_ARPA_INET_H", None)
        .warnings(false)
        .compile("nghttp2");
}
