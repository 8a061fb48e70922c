//! The build script of every crate that links an executable against libtorch: a link argument holds for the crate whose
//! script prints it and for no other.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "cargo talks to a build script by variables, and listens to what it prints"
)]

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let Some(libtorch) = std::env::var_os("LIBTORCH") {
        // `.libtorch` is a link inside one clone; the binary must outlive that clone, so the link is followed here.
        let libtorch = std::path::Path::new(&libtorch).join("lib");
        let libtorch = libtorch.canonicalize().unwrap_or(libtorch);
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libtorch.display());
    }
}
