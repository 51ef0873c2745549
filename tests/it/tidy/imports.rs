//! Which file of `src` imports from which. Imports are read as text: every `use` and every path that
//! begins with `crate::`. A name that a module re-exports counts as an import of the file that defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::{shipped, sources};

/// The files of `src` and the arrows between them, by module path such as `store::file::lock`.
pub struct Imports {
    /// Each importing module, and the modules that it imports from.
    pub arrows: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    pub fn read() -> Self {
        let modules: BTreeMap<String, Module> = sources("src")
            .into_iter()
            .filter(|(name, _)| !name.starts_with("src/bin/") && !name.ends_with("/tests.rs"))
            .map(|(name, content)| {
                let path =
                    name.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::");
                let path = if path == "lib" { String::new() } else { path };
                let module = Module::read(&path, &shipped(&content));
                (path, module)
            })
            .collect();
        let arrows = modules
            .iter()
            .map(|(path, module)| {
                let targets = module.imported.iter().map(|name| defining(&modules, name));
                (path.clone(), targets.filter(|target| target != path).collect())
            })
            .collect();
        Self { arrows }
    }

    /// The arrows between modules that import each other, directly or through others.
    pub fn circles(&self) -> Vec<(&str, &str)> {
        let arrows = self
            .arrows
            .iter()
            .flat_map(|(from, targets)| targets.iter().map(move |to| (from.as_str(), to.as_str())));
        arrows.filter(|(from, to)| self.reaches(to, from)).collect()
    }

    fn reaches(&self, from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::from([from]);
        let mut waiting = vec![from];
        while let Some(module) = waiting.pop() {
            if module == to {
                return true;
            }
            let targets = self.arrows.get(module).into_iter().flatten();
            waiting.extend(targets.map(String::as_str).filter(|target| seen.insert(target)));
        }
        false
    }
}

struct Module {
    imported: Vec<String>,
    /// Names that this module re-exports, and their paths.
    reexported: BTreeMap<String, String>,
}

impl Module {
    fn read(path: &str, code: &str) -> Self {
        let mut module = Self { imported: Vec::new(), reexported: BTreeMap::new() };
        let visibility = Regex::new(r"pub\(in [\w:]+\)").unwrap();
        let code = visibility.replace_all(code, "pub");
        let mut rest = String::new();
        for statement in code.split_inclusive(';') {
            let Some((before, tree)) = use_statement(statement) else {
                rest.push_str(statement);
                continue;
            };
            rest.push_str(before);
            let is_reexport =
                before.trim_end().ends_with("pub") || before.trim_end().ends_with(')');
            for name in expand(tree) {
                let (name, renamed) =
                    name.split_once(" as ").map_or((&*name, None), |(name, new)| (name, Some(new)));
                let Some(name) = absolute(path, name) else { continue };
                let last = renamed.unwrap_or_else(|| name.rsplit("::").next().unwrap_or_default());
                if is_reexport {
                    module.reexported.insert(last.to_owned(), name);
                } else {
                    module.imported.push(name);
                }
            }
        }
        let inline = Regex::new(r"\b(?:crate|super)(?:::\w+)+").unwrap();
        module
            .imported
            .extend(inline.find_iter(&rest).filter_map(|found| absolute(path, found.as_str())));
        module
    }
}

/// What precedes the last `use` of a statement, and its tree.
fn use_statement(statement: &str) -> Option<(&str, &str)> {
    static USE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?s)^(.*?)\buse\s+((?:crate|self|super)::[^;]*);$").unwrap());
    let captures = USE.captures(statement)?;
    Some((captures.get(1)?.as_str(), captures.get(2)?.as_str()))
}

/// The paths of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, group)) = tree.split_once('{') else {
        return vec![tree.to_owned()];
    };
    let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(character);
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expand(part)).map(|part| format!("{}{part}", prefix.trim())).collect()
}

/// A path from the crate's root; `None` for a path into another crate.
fn absolute(module: &str, path: &str) -> Option<String> {
    let mut base: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
    let mut parts = path.trim().split("::").peekable();
    match parts.next()? {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            base.pop();
        }
        _ => return None,
    }
    while parts.next_if_eq(&"super").is_some() {
        base.pop();
    }
    Some(
        base.into_iter().chain(parts).filter(|part| *part != "self").collect::<Vec<_>>().join("::"),
    )
}

/// The module that defines the item at this path.
fn defining(modules: &BTreeMap<String, Module>, path: &str) -> String {
    let parts: Vec<&str> = path.split("::").collect();
    let known =
        (0..=parts.len()).rev().find(|length| modules.contains_key(&parts[..*length].join("::")));
    let module = parts[..known.unwrap_or_default()].join("::");
    match parts
        .get(known.unwrap_or_default())
        .and_then(|item| modules[&module].reexported.get(*item))
    {
        Some(origin) if origin != path => defining(modules, origin),
        _ => module,
    }
}

#[test]
fn use_trees_are_expanded() {
    assert_eq!(
        expand("crate::a::{B, c::{D, E as F}}"),
        ["crate::a::B", "crate::a::c::D", "crate::a::c::E as F"]
    );
    assert_eq!(absolute("a::b", "super::c::D").as_deref(), Some("a::c::D"));
    assert_eq!(absolute("a", "std::fs"), None);
}
