//! A manifest that takes nothing from its workspace any more, so that the crate can lie anywhere.

use toml::{Table, Value};

/// What stands above it.
const HEAD: &str = "# Part of Weir; written by `weir plugin new`.\n";
const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is no TOML.
    #[error(transparent)]
    Read(#[from] toml::de::Error),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] toml::ser::Error),
    /// The workspace does not have what is asked of it.
    #[error("the workspace has no {0:?}")]
    Missing(String),
}

/// Puts in place what `manifest` takes from `workspace`.
pub fn standalone(manifest: &str, workspace: &str) -> Result<String, ManifestError> {
    let mut manifest: Table = manifest.parse()?;
    let workspace: Table = workspace.parse()?;
    let workspace = table(&workspace, "workspace")?;
    if let Some(Value::Table(package)) = manifest.get_mut("package") {
        inherit(package, table(workspace, "package")?)?;
    }
    if manifest.get("lints").is_some_and(is_inherited) {
        let lints = table(workspace, "lints")?.clone();
        manifest.insert("lints".to_owned(), Value::Table(lints));
    }
    let known = table(workspace, "dependencies")?;
    inherit_dependencies(&mut manifest, known)?;
    if let Some(Value::Table(targets)) = manifest.get_mut("target") {
        for (_, target) in targets.iter_mut() {
            if let Value::Table(target) = target {
                inherit_dependencies(target, known)?;
            }
        }
    }
    Ok(format!("{HEAD}{}", toml::to_string(&manifest)?))
}

fn inherit_dependencies(manifest: &mut Table, known: &Table) -> Result<(), ManifestError> {
    for section in DEPENDENCIES {
        if let Some(Value::Table(dependencies)) = manifest.get_mut(section) {
            inherit(dependencies, known)?;
        }
    }
    Ok(())
}

/// Replaces what says `workspace = true`, keeping what it says besides.
fn inherit(own: &mut Table, known: &Table) -> Result<(), ManifestError> {
    for (name, value) in own.iter_mut().filter(|(_, value)| is_inherited(value)) {
        let missing = || ManifestError::Missing(name.clone());
        let mut taken = known.get(name).ok_or_else(missing)?.clone();
        if let Value::Table(said) = value {
            said.remove("workspace");
            if !said.is_empty() {
                let mut whole = match taken {
                    Value::Table(whole) => whole,
                    version => Table::from_iter([("version".to_owned(), version)]),
                };
                whole.extend(said.clone());
                taken = Value::Table(whole);
            }
        }
        *value = taken;
    }
    Ok(())
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

fn table<'a>(of: &'a Table, name: &str) -> Result<&'a Table, ManifestError> {
    let found = of.get(name).and_then(Value::as_table);
    found.ok_or_else(|| ManifestError::Missing(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_the_workspace_says_is_put_in_place() {
        let workspace = r#"
            [workspace.package]
            version = "0.1.0"
            [workspace.dependencies]
            a = "1"
            b = { version = "2", default-features = false }
            [workspace.lints.rust]
            unsafe_code = "deny"
        "#;
        let manifest = r#"
            [package]
            name = "kit"
            version.workspace = true
            [lints]
            workspace = true
            [dependencies]
            a = { workspace = true, features = ["x"] }
            [target.'cfg(unix)'.dependencies]
            b.workspace = true
        "#;
        expect![[r#"
            # Part of Weir; written by `weir plugin new`.
            [dependencies.a]
            features = ["x"]
            version = "1"

            [lints.rust]
            unsafe_code = "deny"

            [package]
            name = "kit"
            version = "0.1.0"

            [target."cfg(unix)".dependencies.b]
            default-features = false
            version = "2"
        "#]]
        .assert_eq(&standalone(manifest, workspace).unwrap());
    }

    #[test]
    fn what_the_workspace_lacks_is_named() {
        let workspace = "[workspace.package]\n[workspace.dependencies]\n";
        let manifest = "[package]\nname = \"kit\"\nversion.workspace = true\n";
        let error = standalone(manifest, workspace).unwrap_err();
        assert_eq!(error.to_string(), "the workspace has no \"version\"");
    }
}
