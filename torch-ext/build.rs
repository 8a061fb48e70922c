//! Compiles the C++ side against the libtorch that torch-sys links.
#![expect(clippy::disallowed_methods, reason = "cargo talks to a build script by variables")]

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=csrc");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Some(libtorch) = std::env::var_os("LIBTORCH").map(PathBuf::from) else {
        panic!("LIBTORCH is not set: run `cargo xtask setup` once");
    };
    assert!(libtorch.join("include").is_dir(), "no libtorch at {}: run `cargo xtask setup` once", libtorch.display());
    let is_x86 = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64");
    let mut build = cc::Build::new();
    if is_x86 {
        build.define("MOSO_X86", None);
    }
    build
        .cpp(true)
        .pic(true)
        .warnings(false)
        .std("c++20")
        .include(libtorch.join("include"))
        .include(libtorch.join("include/torch/csrc/api/include"))
        .files(["csrc/ext.cpp", "csrc/functions.cpp", "csrc/gpu.cpp"])
        .compile("moso_torch_ext");
    // Behind what uses them, as linkers want it.
    compile_kernels("any", &[]);
    if is_x86 {
        compile_kernels("avx2", &["-march=x86-64-v3"]);
        compile_kernels("avx512", &["-march=x86-64-v4", "-mprefer-vector-width=512"]);
    }
    println!("cargo:rustc-link-lib=dylib=torch_cpu");
    println!("cargo:rustc-link-lib=dylib=c10");
    // The tests of this crate are linked here too; other crates use run_path.rs.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libtorch.join("lib").display());
}

/// The loops of `csrc/kernels.cpp` for one instruction set; which one runs is chosen when the program does.
fn compile_kernels(name: &str, options: &[&str]) {
    let mut build = cc::Build::new();
    build.cpp(true).pic(true).std("c++20").opt_level(3).file("csrc/kernels.cpp");
    build.define("MOSO_KERNELS", &format!("moso_kernels_{name}")[..]);
    // Errors of the C library and traps of the processor are not looked at; the order of sums stays as it is written.
    build.flag("-fno-math-errno").flag("-fno-trapping-math");
    options.iter().fold(&mut build, |build, option| build.flag(option)).compile(&format!("moso_kernels_{name}"));
}
