//! Compiles the C++ side against the libtorch that torch-sys links.
#![expect(clippy::disallowed_methods, reason = "cargo talks to a build script by variables")]

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=csrc/ext.cpp");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Some(libtorch) = std::env::var_os("LIBTORCH").map(PathBuf::from) else {
        panic!("LIBTORCH is not set: run `cargo xtask setup` once");
    };
    assert!(libtorch.join("include").is_dir(), "no libtorch at {}: run `cargo xtask setup` once", libtorch.display());
    cc::Build::new()
        .cpp(true)
        .pic(true)
        .warnings(false)
        .std("c++20")
        .include(libtorch.join("include"))
        .include(libtorch.join("include/torch/csrc/api/include"))
        .file("csrc/ext.cpp")
        .compile("moso_torch_ext");
    println!("cargo:rustc-link-lib=dylib=torch_cpu");
    println!("cargo:rustc-link-lib=dylib=c10");
    // The tests of this crate are linked here too; other crates use run_path.rs.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libtorch.join("lib").display());
}
