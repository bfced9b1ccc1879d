// SPDX-License-Identifier: LGPL-2.1-or-later
//! Compare the declarations with `coppice.h`: its names by reading it, types
//! and layouts by having the C compiler check assertions about them.
use coppice_sys::*;
use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::io::Write as _;
use std::mem::{size_of, MaybeUninit};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const DECLARATIONS: &str = include_str!("../src/lib.rs");

/// Return the directory of the header: that of the source tree, unless the
/// variable COPPICE_INCLUDE_DIR names another.
fn include_dir() -> PathBuf {
    match env::var_os("COPPICE_INCLUDE_DIR") {
        Some(dir) => dir.into(),
        None => {
            [env!("CARGO_MANIFEST_DIR"), "..", "..", "lib"].iter().collect()
        }
    }
}

fn header() -> String {
    std::fs::read_to_string(include_dir().join("coppice.h")).unwrap()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Return the words of a text that begin with a prefix.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    text.split(|c| !is_word(c)).filter(|w| w.starts_with(prefix)).collect()
}

/// Return the word at the beginning of a text.
fn word(text: &str) -> &str {
    text.split(|c| !is_word(c)).next().unwrap()
}

/// Let the C compiler check assertions after including the header.
fn compile(assertions: &str) {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut child = Command::new(&compiler)
        .args(["-x", "c", "-std=gnu11", "-fsyntax-only", "-I"])
        .arg(include_dir())
        .arg("-")
        .env_remove("LD_PRELOAD") // the runtime of a sanitizer, for the tests
        .stdin(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run {}: {}", compiler, e));
    let source =
        format!("#include <errno.h>\n#include <coppice.h>\n{}\n", assertions);

    child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "see the compiler's messages");
}

// ---- Functions -----------------------------------------------------------

struct Function {
    name: String,
    arguments: Vec<String>,
    result: String,
}

/// Return the functions that the crate declares.
fn functions() -> Vec<Function> {
    let start = DECLARATIONS.find("extern \"C\" {\n").unwrap();
    let block = &DECLARATIONS[start..];
    let block = &block[..block.find("\n}\n").unwrap()];

    block
        .split("pub fn ")
        .skip(1)
        .map(|text| {
            let open = text.find('(').unwrap();
            let close = text.find(')').unwrap();
            let end = text.find(';').unwrap();
            let types = text[open + 1..close]
                .split(',')
                .filter_map(|a| a.split_once(':'))
                .map(|(_, kind)| kind.trim().to_owned());

            Function {
                name: text[..open].to_owned(),
                arguments: types.collect(),
                result: text[close + 1..end]
                    .trim()
                    .trim_start_matches("-> ")
                    .to_owned(),
            }
        })
        .collect()
}

/// Return the C type of a type of the declarations.
fn c_type(kind: &str) -> String {
    if let Some(pointee) = kind.strip_prefix("*mut ") {
        return c_type(pointee) + " *";
    }
    if let Some(pointee) = kind.strip_prefix("*const ") {
        return format!("const {} *", c_type(pointee));
    }
    match kind {
        "" | "c_void" => "void".into(),
        "c_char" => "char".into(),
        "c_int" => "int".into(),
        "c_uint" => "unsigned".into(),
        "u64" => "uint64_t".into(),
        "i64" => "int64_t".into(),
        "Option<coppice_list_fn>" => {
            "int (*)(void *, const struct coppice_info *)".into()
        }
        "Option<coppice_diff_fn>" => {
            "int (*)(void *, const struct coppice_difference *)".into()
        }
        _ if kind.starts_with("coppice") => format!("struct {}", kind),
        _ => kind.into(), // size_t, uid_t and so on
    }
}

#[test]
fn every_function_is_declared() {
    let header = header();
    let theirs: BTreeSet<String> = header
        .split("COPPICE_API ")
        .skip(1)
        .map(|text| {
            let open = text.find('(').unwrap();
            text[..open].rsplit(|c| !is_word(c)).next().unwrap().to_owned()
        })
        .filter(|name| name.starts_with("coppice_"))
        .collect();
    let ours: BTreeSet<String> =
        functions().into_iter().map(|f| f.name).collect();

    assert!(theirs.len() > 30, "{:?}", theirs);
    assert_eq!(ours, theirs);
}

#[test]
fn types_of_functions_are_equal() {
    let mut source = String::new();

    for f in functions() {
        let arguments: Vec<String> =
            f.arguments.iter().map(|a| c_type(a)).collect();
        let arguments = match arguments.len() {
            0 => "void".into(),
            _ => arguments.join(", "),
        };
        let result = f.result.as_str();

        writeln!(
            source,
            "_Static_assert(__builtin_types_compatible_p(\
             __typeof__({0}), {1}({2})), \"{0}\");",
            f.name,
            c_type(result),
            arguments
        )
        .unwrap();
    }
    compile(&source);
}

// ---- Constants -----------------------------------------------------------

macro_rules! values {
    ($($name:ident)*) => { vec![$((stringify!($name), $name as i64)),*] };
}

#[test]
fn every_constant_is_equal() {
    let constants = values![
        COPPICE_READ_ONLY COPPICE_CREATE COPPICE_UNIQUE COPPICE_SNAPSHOTS
        COPPICE_FILE COPPICE_DIRECTORY COPPICE_SYMLINK COPPICE_OTHER
        COPPICE_SORTED COPPICE_PARENTS COPPICE_RECURSIVE COPPICE_LENIENT
        COPPICE_DURABLE COPPICE_ADDED COPPICE_REMOVED COPPICE_MODIFIED
        COPPICE_RENAMED COPPICE_DRY_RUN COPPICE_OURS COPPICE_THEIRS
        COPPICE_NAME_SIZE
    ];
    let header = header();
    let mut theirs = words(&header, "COPPICE_");
    let ours: BTreeSet<&str> = constants.iter().map(|c| c.0).collect();

    theirs.remove("COPPICE_API");
    theirs.remove("COPPICE_H");
    assert_eq!(ours, theirs);
    assert_eq!(ours, words(DECLARATIONS, "COPPICE_"));
    check_values(&constants);
}

#[test]
fn errno_is_the_machine_s() {
    use coppice_sys::errno::*;
    let constants = values![
        EPERM ENOENT ECHILD ENOMEM EACCES EBUSY EEXIST EXDEV ENOTDIR EISDIR
        EINVAL
        ENOSPC EROFS ENAMETOOLONG ENOTEMPTY ENODATA EOPNOTSUPP ECONNRESET ESTALE EUCLEAN EDQUOT
    ];

    check_values(&constants);
}

fn check_values(constants: &[(&str, i64)]) {
    let mut source = String::new();

    for (name, value) in constants {
        writeln!(source, "_Static_assert({0} == {1}, \"{0}\");", name, value)
            .unwrap();
    }
    compile(&source);
}

// ---- Structs -------------------------------------------------------------

/// The C type that a type must be compatible with.
trait CType {
    const NAME: &'static str;
}
macro_rules! c_types {
    ($($kind:ty => $name:expr,)*) => {
        $(impl CType for $kind { const NAME: &'static str = $name; })*
    };
}
c_types! {
    usize => "size_t",
    isize => "ssize_t",
    u64 => "uint64_t",
    i64 => "int64_t",
    u32 => "uint32_t",
    i32 => "int",
    *const c_char => "const char *",
    *mut c_void => "void *",
    [c_char; COPPICE_NAME_SIZE] => "char[COPPICE_NAME_SIZE]",
}

fn c_type_of<T: CType>(_: *const T) -> (usize, &'static str) {
    (size_of::<T>(), T::NAME)
}

/// Write assertions about a struct. The pattern names each field: the compiler
/// refuses the macro if one is left out.
macro_rules! layout {
    ($source:expr, $kind:ident: $($field:ident)*) => {{
        fn _every_field($kind { $($field: _,)* }: &$kind) {}
        let value = MaybeUninit::<$kind>::uninit();
        let base = value.as_ptr();
        writeln!(
            $source,
            "_Static_assert(sizeof(struct {0}) == {1}, \"size of {0}\");",
            stringify!($kind), size_of::<$kind>()
        ).unwrap();
        $(
            let at = unsafe { std::ptr::addr_of!((*base).$field) };
            let (size, c_name) = c_type_of(at);
            check_field(
                &mut $source, stringify!($kind), stringify!($field),
                at as usize - base as usize, size, c_name,
            );
        )*
        stringify!($kind)
    }};
}

fn check_field(
    source: &mut String,
    kind: &str,
    field: &str,
    offset: usize,
    size: usize,
    c_name: &str,
) {
    let c_field = field.trim_end_matches('_');
    let place = format!("((struct {} *)0)->{}", kind, c_field);

    writeln!(
        source,
        "_Static_assert(offsetof(struct {4}, {6}) == {1} && sizeof({0}) == {2} && \
         __builtin_types_compatible_p(__typeof__({0}), {3}), \"{4}.{5}\");",
        place, offset, size, c_name, kind, field, c_field
    )
    .unwrap();
}

#[test]
fn structs_are_laid_out_alike() {
    let mut source = String::new();
    let ours: BTreeSet<&str> = [
        layout!(source, coppice_options: size memory commit_ms),
        layout!(source, coppice_stats: size used_bytes free_bytes avail_bytes
            pending_bytes reclaiming states commits),
        layout!(source, coppice_info: size number fork version created files
            bytes exclusive snapshots read_only name origin),
        layout!(source, coppice_get: path offset buffer size result),
        layout!(source, coppice_stat: size type_ mode uid gid links number
            bytes modified changed born),
        layout!(source, coppice_entry: size type_ number name),
        layout!(source, coppice_difference: size change type_ path from number
            old_bytes new_bytes),
    ]
    .into();
    let header = header();
    let theirs: BTreeSet<&str> = header
        .split("\nstruct ")
        .skip(1)
        .filter(|text| text[word(text).len()..].starts_with(" {"))
        .map(word)
        .collect();

    assert_eq!(ours, theirs);
    compile(&source);
}
