//! Generates the channel schema from the `.fbs` files of the installed mediasoup package: the typed
//! views and builders (planus), the tables that the verifier walks, and the schema fingerprint.

use std::{
    collections::HashMap,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use planus_types::{
    ast::IntegerType,
    intermediate::{
        AssignMode, DeclarationIndex, DeclarationKind, Declarations, SimpleType, TypeKind,
    },
};
use sha2::{Digest, Sha256};

type Failure = Box<dyn std::error::Error>;

/// Fields that the schema calls optional and the worker follows without looking.
const REQUIRED_BY_THE_WORKER: [(&str, &str); 1] =
    [("FBS.Worker.CreateWebRtcServerRequest", "listen_infos")];

fn main() -> Result<(), Failure> {
    println!("cargo:rerun-if-env-changed=MEDIASOUP_PACKAGE_DIR");
    let package = package_dir()?;
    let mut files: Vec<PathBuf> = fs::read_dir(package.join("worker/fbs"))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "fbs"))
        .collect();
    files.sort();
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let declarations = planus_translation::translate_files(&files)
        .ok_or("the mediasoup channel schema does not parse; see the messages above")?;
    let mut views = planus_codegen::generate_rust(&declarations, false)?;
    // Inner attributes are not allowed in an included file; the including module sets the lints.
    while let Some(rest) = views.trim_start().strip_prefix("#![") {
        let end = rest.find(']').ok_or("unbalanced attribute in generated code")?;
        views = rest[end + 1..].to_owned();
    }
    // Nothing here is ever written as JSON, and serde would double the compile time.
    let views = views
        .replace(", ::serde::Serialize, ::serde::Deserialize", "")
        .replace("::serde::Serialize, ::serde::Deserialize", "");
    fs::write(out.join("views.rs"), views)?;
    fs::write(out.join("tables.rs"), verifier_tables(&declarations)?)?;
    fs::write(out.join("identity.rs"), identity(&package, &files)?)?;
    Ok(())
}

fn package_dir() -> Result<PathBuf, Failure> {
    if let Some(dir) = env::var_os("MEDIASOUP_PACKAGE_DIR") {
        return Ok(dir.into());
    }
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let package = root.join("node_modules/mediasoup-upstream");
    if package.join("worker/fbs").is_dir() {
        Ok(package)
    } else {
        Err(format!(
            "{} has no worker/fbs folder: run scripts/setup (or npm install) first, \
             or set MEDIASOUP_PACKAGE_DIR to an installed mediasoup package",
            package.display()
        )
        .into())
    }
}

/// The fingerprint is the SHA-256 of every schema file's name and content, in byte order of names.
fn identity(package: &Path, files: &[PathBuf]) -> Result<String, Failure> {
    let mut hash = Sha256::new();
    for file in files {
        let name = file.file_name().ok_or("a schema file without a name")?;
        hash.update(name.as_encoded_bytes());
        hash.update([0]);
        hash.update(fs::read(file)?);
        hash.update([0]);
    }
    let fingerprint = hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    println!("cargo:rerun-if-changed={}", package.join("package.json").display());
    let manifest = fs::read_to_string(package.join("package.json"))?;
    let version = manifest
        .lines()
        .find_map(|line| line.trim().strip_prefix("\"version\": \"")?.split('"').next())
        .ok_or("mediasoup's package.json names no version")?
        .to_owned();
    Ok(format!(
        "pub const SCHEMA_FINGERPRINT: &str = {fingerprint:?};\n\
         pub const MEDIASOUP_VERSION: &str = {version:?};\n"
    ))
}

fn verifier_tables(declarations: &Declarations) -> Result<String, Failure> {
    let mut tables: HashMap<usize, usize> = HashMap::new();
    for (index, _, declaration) in declarations.iter_declarations() {
        if matches!(declaration.kind, DeclarationKind::Table(_)) {
            tables.insert(index.0, tables.len());
        }
    }
    let mut unions = Vec::new();
    let mut bodies = String::new();
    let mut names = String::new();
    for (index, path, declaration) in declarations.iter_declarations() {
        let DeclarationKind::Table(table) = &declaration.kind else {
            continue;
        };
        let mut fields = String::new();
        for (name, field) in &table.fields {
            let kind = field_kind(declarations, &tables, &mut unions, &field.type_.kind)?;
            let required = matches!(field.assign_mode, AssignMode::Required)
                || REQUIRED_BY_THE_WORKER.contains(&(path.to_string().as_str(), name.as_str()));
            // A union's tag sits in the slot before its value.
            let slot = match field.type_.kind {
                TypeKind::Union(_) => field.vtable_index + 1,
                _ => field.vtable_index,
            };
            writeln!(
                fields,
                "        FieldTable {{ name: {name:?}, slot: {slot}, required: {required}, kind: {kind} }},"
            )?;
        }
        writeln!(
            bodies,
            "    TypeTable {{ name: {:?}, fields: &[\n{fields}    ] }},",
            path.to_string()
        )?;
        writeln!(
            names,
            "pub const {}: usize = {};",
            path.to_string().replace('.', "_").to_uppercase(),
            tables[&index.0]
        )?;
    }
    let mut union_tables = String::new();
    let mut done = 0;
    while done < unions.len() {
        let DeclarationKind::Union(union) = &declarations.get_declaration(unions[done]).1.kind
        else {
            return Err("a union field that is no union".into());
        };
        let mut members = String::new();
        for variant in union.variants.values() {
            let TypeKind::Table(index) = variant.type_.kind else {
                return Err("a union member that is no table".into());
            };
            write!(members, "{}, ", tables[&index.0])?;
        }
        writeln!(union_tables, "    &[{members}],")?;
        done += 1;
    }
    Ok(format!(
        "pub static TYPES: &[TypeTable] = &[\n{bodies}];\n\
         pub static UNIONS: &[&[usize]] = &[\n{union_tables}];\n{names}"
    ))
}

fn field_kind(
    declarations: &Declarations,
    tables: &HashMap<usize, usize>,
    unions: &mut Vec<DeclarationIndex>,
    kind: &TypeKind,
) -> Result<String, Failure> {
    Ok(match kind {
        TypeKind::SimpleType(simple) => simple_kind(declarations, simple)?,
        TypeKind::String => "Kind::String".to_owned(),
        TypeKind::Table(index) => format!("Kind::Table({})", tables[&index.0]),
        TypeKind::Union(index) => {
            let position = unions.iter().position(|known| known == index).unwrap_or_else(|| {
                unions.push(*index);
                unions.len() - 1
            });
            format!("Kind::Union({position})")
        }
        TypeKind::Vector(element) => {
            format!("Kind::Vector(&{})", field_kind(declarations, tables, unions, &element.kind)?)
        }
        TypeKind::Array(..) => return Err("fixed arrays are not used by this schema".into()),
    })
}

fn simple_kind(declarations: &Declarations, simple: &SimpleType) -> Result<String, Failure> {
    Ok(match simple {
        SimpleType::Bool => "Kind::Bool".to_owned(),
        SimpleType::Integer(integer) => format!("Kind::Scalar({})", integer_size(*integer)),
        SimpleType::Float(float) => {
            let size =
                if float.flatbuffer_name().contains("32") || float.flatbuffer_name() == "float" {
                    4
                } else {
                    8
                };
            format!("Kind::Scalar({size})")
        }
        SimpleType::Enum(index) => {
            let DeclarationKind::Enum(declared) = &declarations.get_declaration(*index).1.kind
            else {
                return Err("an enum field that is no enum".into());
            };
            if integer_size(declared.type_) != 1 {
                return Err("only one-byte enums are expected in this schema".into());
            }
            let values: Vec<u64> = declared.variants.keys().map(|key| key.to_u64()).collect();
            let first = values.iter().min().copied().unwrap_or(0);
            let last = values.iter().max().copied().unwrap_or(0);
            if last - first + 1 != values.len() as u64 {
                return Err("an enum with holes needs a list of values in the verifier".into());
            }
            format!("Kind::Enum {{ first: {first}, last: {last} }}")
        }
        SimpleType::Struct(_) => return Err("structs are not used by this schema".into()),
    })
}

fn integer_size(integer: IntegerType) -> usize {
    match integer {
        IntegerType::U8 | IntegerType::I8 => 1,
        IntegerType::U16 | IntegerType::I16 => 2,
        IntegerType::U32 | IntegerType::I32 => 4,
        IntegerType::U64 | IntegerType::I64 => 8,
    }
}
