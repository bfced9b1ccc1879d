// SPDX-License-Identifier: LGPL-2.1-or-later
//! Find libcoppice.so: in the directory that the variable COPPICE_LIB_DIR
//! names, else where pkg-config finds it, else in the linker's default path.
use std::env;
use std::process::Command;

/// Return the directories that pkg-config names for the library; none if
/// there is no pkg-config, or it does not find the library.
fn pkg_config_dirs() -> Vec<String> {
    let program = env::var_os("PKG_CONFIG").unwrap_or("pkg-config".into());
    let output =
        Command::new(program).args(["--libs-only-L", "libcoppice"]).output();

    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout)
                .split_whitespace()
                .filter_map(|option| option.strip_prefix("-L"))
                .map(str::to_owned)
                .collect()
        }
        _ => Vec::new(),
    }
}

fn main() {
    let dirs = match env::var("COPPICE_LIB_DIR") {
        Ok(dir) => vec![dir],
        Err(_) => pkg_config_dirs(),
    };

    for dir in dirs {
        println!("cargo:rustc-link-search=native={}", dir);
    }
    println!("cargo:rustc-link-lib=dylib=coppice");
    println!("cargo:rerun-if-env-changed=COPPICE_LIB_DIR");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    println!("cargo:rerun-if-changed=build.rs");
}
