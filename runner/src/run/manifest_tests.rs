//! Manifests as people write them, good and bad.

use std::fs;

use tempfile::TempDir;

use super::*;

const LOAD_TEST: &str = "
apiVersion: aiotest.dev/v1alpha1
kind: LoadTest
metadata: {name: checkout}
spec:
  aiotestfile: {configMap: {name: checkout, key: aiotestfile.py}}
  load: {constant: {users: 10, spawnRate: 5, duration: 20s}}
";
const CONFIG_MAP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: checkout}
data: {aiotestfile.py: 'import cards', cards.py: 'CARDS = []'}
";

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

/// Loads a folder of these files.
fn loaded(files: &[(&str, &str)]) -> Result<Manifest, Error> {
    load(folder(files).path())
}

/// What is said about a folder of these files.
#[track_caller]
fn refusal(files: &[(&str, &str)]) -> String {
    loaded(files).unwrap_err().to_string()
}

#[test]
fn a_folder_is_one_manifest() {
    let manifest =
        loaded(&[("load.yaml", LOAD_TEST), ("map.yml", CONFIG_MAP), ("notes.txt", ": [")]).unwrap();
    assert_eq!(manifest.load_test.metadata.name.as_deref(), Some("checkout"));
    assert_eq!(manifest.aiotestfile, "aiotestfile.py");
    assert_eq!(manifest.files.keys().collect::<Vec<_>>(), ["aiotestfile.py", "cards.py"]);
    assert_eq!(manifest.files["aiotestfile.py"], b"import cards");
    assert_eq!(manifest.notes, [""; 0]);
}

#[test]
fn a_file_finds_the_maps_of_its_folder_and_prefers_its_own() {
    let beside = folder(&[("load.yaml", LOAD_TEST), ("map.yaml", CONFIG_MAP)]);
    assert_eq!(load(&beside.path().join("load.yaml")).unwrap().files.len(), 2);

    let both = format!("{LOAD_TEST}---{}", CONFIG_MAP.replace("import cards", "own"));
    let preferred = folder(&[("load.yaml", &both), ("map.yaml", CONFIG_MAP), ("bad.yaml", "a: [")]);
    let manifest = load(&preferred.path().join("load.yaml")).unwrap();
    assert_eq!(manifest.files["aiotestfile.py"], b"own");
    assert_eq!(manifest.notes, [""; 0], "what is not needed is not read");
}

#[test]
fn an_unreadable_file_beside_the_manifest_is_only_a_note() {
    let folder = folder(&[("load.yaml", LOAD_TEST), ("map.yaml", CONFIG_MAP), ("helm.yaml", "a: [")]);
    let notes = load(&folder.path().join("load.yaml")).unwrap().notes;
    assert!(notes.len() == 1 && notes[0].contains("helm.yaml"), "{notes:?}");
}

#[test]
fn a_list_stands_for_its_items() {
    let list = "
apiVersion: v1
kind: List
items:
- apiVersion: aiotest.dev/v1alpha1
  kind: LoadTest
  metadata: {name: checkout}
  spec: {aiotestfile: {configMap: {name: checkout}}, load: {shape: {}}}
- kind: ConfigMapList
  items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: checkout}, data: {aiotestfile.py: x}}]
";
    assert_eq!(loaded(&[("all.yaml", list)]).unwrap().files["aiotestfile.py"], b"x");
}

#[test]
fn an_inline_file_needs_no_map() {
    let text =
        LOAD_TEST.replace("configMap: {name: checkout, key: aiotestfile.py}", "inline: 'import aiotest'");
    let manifest = loaded(&[("load.yaml", &text)]).unwrap();
    assert_eq!((manifest.aiotestfile.as_str(), manifest.files.len()), ("aiotestfile.py", 1));
    assert_eq!(manifest.files["aiotestfile.py"], b"import aiotest");
}

#[test]
fn a_file_that_is_named_like_the_key_stands_for_a_map_that_is_not_there() {
    let files = [("load.yaml", LOAD_TEST), ("aiotestfile.py", "import this"), ("cards.py", "CARDS = []")];
    let beside = folder(&files);
    for path in [beside.path().to_owned(), beside.path().join("load.yaml")] {
        let manifest = load(&path).unwrap();
        assert_eq!(manifest.files.keys().collect::<Vec<_>>(), ["aiotestfile.py"]);
        assert_eq!(manifest.files["aiotestfile.py"], b"import this");
        let [note] = &manifest.notes[..] else { panic!("{:?}", manifest.notes) };
        assert!(note.ends_with("`kubectl create configmap checkout --from-file=aiotestfile.py`"), "{note}");
    }
    fs::write(beside.path().join("map.yaml"), CONFIG_MAP).unwrap();
    assert_eq!(
        load(beside.path()).unwrap().files["aiotestfile.py"],
        b"import cards",
        "a map that is there wins"
    );
}

#[test]
fn what_means_nothing_here_is_named() {
    let text = LOAD_TEST
        .replace("{name: checkout}\nspec:", "{name: checkout, namespace: shop}\nstatus: {}\nspec:")
        + "  deadlines: {results: 1m}\n";
    let other = "kind: Deployment\nmetadata: {name: shop}\n---\nservices: {}\n";
    let notes =
        loaded(&[("load.yaml", &text), ("map.yaml", CONFIG_MAP), ("other.yaml", other)]).unwrap().notes;
    assert_eq!(notes.len(), 5, "{notes:#?}");
    assert!(notes[0].starts_with("skipped Deployment `shop` in "), "{notes:#?}");
    assert!(notes[1].starts_with("skipped a document without a kind in "), "{notes:#?}");
    assert!(notes[2].starts_with("spec.deadlines.results means nothing on this machine: "), "{notes:#?}");
    assert!(notes[3].starts_with("metadata.namespace means nothing"), "{notes:#?}");
    assert!(notes[4].starts_with("status means nothing"), "{notes:#?}");
}

#[test]
fn a_field_that_does_not_exist_is_refused_with_its_path() {
    for (from, to, path) in [
        ("users: 10", "users: 10, sers: 1", "spec.load.constant.sers"),
        ("users: 10", "users: ten", "spec.load.constant.users"),
        ("users: 10", "users: 0", "spec.load.constant.users"),
        ("duration: 20s", "duration: 20 seconds", "spec.load.constant.duration"),
        ("load: {", "load: {shape: {}, ", "spec.load"),
        ("load: {", "master: {podTemplate: {}}\n  load: {", "spec.master"),
        ("checkout}\nspec", "Checkout}\nspec", "metadata.name"),
        ("aiotest.dev/v1alpha1", "aiotest.dev/v9", "apiVersion"),
    ] {
        let text = refusal(&[("load.yaml", &LOAD_TEST.replacen(from, to, 1)), ("map.yaml", CONFIG_MAP)]);
        assert!(text.contains("LoadTest `") && text.contains("load.yaml is not valid:"), "{text}");
        assert!(
            text.lines().skip(1).any(|line| line.starts_with(&format!("  {path}: "))),
            "{path} in {text}"
        );
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let text = refusal(&[("load.yaml", &LOAD_TEST.replace("users: 10", "users: 0").replace("20s", "soon"))]);
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn no_load_test_or_two_are_named() {
    let none = refusal(&[("map.yaml", CONFIG_MAP)]);
    assert!(none.contains("holds no LoadTest; there is ConfigMap `checkout` in "), "{none}");
    let two = refusal(&[
        ("a.yaml", LOAD_TEST),
        ("b.yaml", &LOAD_TEST.replace("{name: checkout}", "{name: other}")),
    ]);
    assert!(
        two.contains("2 LoadTests") && two.contains("`checkout` in ") && two.contains("`other` in "),
        "{two}"
    );
    assert!(refusal(&[("empty.yaml", "")]).ends_with("holds no LoadTest; there is none at all"));
    assert!(refusal(&[]).contains("has no file that ends with .yaml or .yml"));
}

#[test]
fn a_missing_map_or_key_names_what_is_there() {
    let error = loaded(&[("load.yaml", LOAD_TEST), ("map.yaml", &CONFIG_MAP.replace("checkout", "other"))])
        .unwrap_err();
    assert!(error.is_missing_source());
    let text = error.to_string();
    assert!(text.contains("no ConfigMap `checkout` in ") && text.ends_with("there is `other`"), "{text}");

    let error =
        loaded(&[("load.yaml", LOAD_TEST), ("map.yaml", &CONFIG_MAP.replace("aiotestfile.py", "a.py"))])
            .unwrap_err();
    assert!(error.is_missing_source());
    let text = error.to_string();
    assert!(
        text.ends_with("ConfigMap `checkout` has no key `aiotestfile.py`; there is `a.py`, `cards.py`"),
        "{text}"
    );
}

#[test]
fn a_map_of_another_namespace_is_out_of_reach() {
    let load_test = LOAD_TEST.replace("{name: checkout}\nspec", "{name: checkout, namespace: blue}\nspec");
    let map = |namespace: &str| {
        CONFIG_MAP.replace("{name: checkout}", &format!("{{name: checkout, namespace: {namespace}}}"))
    };
    assert!(
        loaded(&[("load.yaml", &load_test), ("map.yaml", &map("green"))]).unwrap_err().is_missing_source()
    );
    assert!(loaded(&[("load.yaml", &load_test), ("map.yaml", &map("blue"))]).is_ok());
    assert!(loaded(&[("load.yaml", &load_test), ("map.yaml", CONFIG_MAP)]).is_ok());
}

#[test]
fn a_map_that_is_defined_twice_is_refused() {
    let text = refusal(&[("load.yaml", LOAD_TEST), ("a.yaml", CONFIG_MAP), ("b.yaml", CONFIG_MAP)]);
    assert!(text.contains("more than once") && text.contains("a.yaml") && text.contains("b.yaml"), "{text}");
}

#[test]
fn a_bad_map_is_refused_with_the_path_of_its_key() {
    let text =
        refusal(&[("load.yaml", LOAD_TEST), ("map.yaml", &CONFIG_MAP.replace("cards.py:", "../cards.py:"))]);
    assert!(
        text.contains("ConfigMap `checkout` in ") && text.contains("\n  data.../cards.py: a key is made of"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_no_yaml_is_refused_with_line_and_column() {
    let text = refusal(&[("load.yaml", "a: 1\nb: [1\nc: }\n")]);
    assert!(text.contains("load.yaml:3:"), "{text}");
    let folder = folder(&[]);
    let bytes = folder.path().join("bytes.yaml");
    fs::write(&bytes, b"a: \xff").unwrap();
    assert!(load(&bytes).unwrap_err().to_string().ends_with("is not UTF-8 text: the byte at 3 is wrong"));
    fs::write(&bytes, vec![b'#'; 3 * 1024 * 1024 + 1]).unwrap();
    assert!(load(&bytes).unwrap_err().to_string().ends_with("is larger than 3145728 bytes"));
    let absent = load(&folder.path().join("absent.yaml")).unwrap_err();
    assert!(absent.to_string().contains("absent.yaml`: No such file"), "{absent}");
    assert!(load(Path::new("/dev/zero")).unwrap_err().to_string().ends_with("neither a file nor a folder"));
}

#[test]
fn no_bytes_of_a_manifest_do_more_than_to_be_refused() {
    const MANIFESTS: &[&[u8]] = &[
        LOAD_TEST.as_bytes(),
        b"a: &x [1, 2]\nb: *x\nc: {<<: {d: 1}}\n---\n|\n  text\n...\n",
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: checkout}\nbinaryData: {a.bin: AAEC}\n",
        b"{\"kind\": \"LoadTest\", \"spec\": {\"load\": {\"shape\": {}}, \"thresholds\": [{\"expr\": \"p95 < 300ms\"}]}}",
    ];
    const TOKENS: &[&[u8]] = &[
        b"---\n",
        b": ",
        b"- ",
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!binary ",
        b"!",
        b"%YAML 1.2\n",
        b"|\n",
        b">\n",
        b"\t",
        b"#",
        b"[",
        b"]",
        b"{",
        b"}",
        b"\"",
        b"'",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\0",
        b"~",
        b".inf",
        b"1e999",
        b"0x",
        b"?",
        b"[[[[[[[[[[[[[[[[",
        b"10000000000000000000",
        b"p99 < 1e9h",
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("load.yaml");
    crate::fuzz::hold(&crate::fuzz::mutated(MANIFESTS, TOKENS), |bytes| {
        fs::write(folder.path().join("map.yaml"), CONFIG_MAP).unwrap();
        fs::write(&path, &bytes.0).unwrap();
        for place in [folder.path(), &path] {
            if let Err(error) = load(place) {
                proptest::prop_assert!(!error.to_string().is_empty());
            }
        }
        Ok(())
    });
}

/// The same load test with a data set, of a map or of a file.
fn with_data(key: &str) -> String {
    format!("{LOAD_TEST}  data: [{{name: accounts, configMap: {{name: rows, key: {key}}}}}]\n")
}

#[test]
fn a_data_set_is_one_key_of_a_map_or_a_file_of_that_name() {
    let rows = "{apiVersion: v1, kind: ConfigMap, metadata: {name: rows}, data: {a.csv: \"user\\nada\\n\", b.csv: x}}";
    let spec = with_data("a.csv");
    let manifest = loaded(&[("load.yaml", &spec), ("map.yaml", CONFIG_MAP), ("rows.yaml", rows)]).unwrap();
    assert_eq!(manifest.data["accounts"], Files::from([("a.csv".to_owned(), b"user\nada\n".to_vec())]));
    assert_eq!(manifest.notes, [""; 0]);

    let manifest =
        loaded(&[("load.yaml", &spec), ("map.yaml", CONFIG_MAP), ("a.csv", "user\nbob\n")]).unwrap();
    assert_eq!(manifest.data["accounts"]["a.csv"], b"user\nbob\n");
    assert!(
        manifest.notes[0].contains("kubectl create configmap rows --from-file=a.csv"),
        "{:?}",
        manifest.notes
    );
}

#[test]
fn a_data_set_that_is_not_there_is_told_with_its_field() {
    let spec = with_data("c.csv");
    let missing = loaded(&[("load.yaml", &spec), ("map.yaml", CONFIG_MAP)]).unwrap_err();
    assert!(missing.is_missing_source());
    let said = missing.to_string();
    assert!(said.starts_with("spec.data[0].configMap: there is no ConfigMap `rows` in"), "{said}");
    let rows = "{apiVersion: v1, kind: ConfigMap, metadata: {name: rows}, data: {a.csv: x}}";
    let said = refusal(&[("load.yaml", &spec), ("map.yaml", CONFIG_MAP), ("rows.yaml", rows)]);
    assert_eq!(said, "spec.data[0].configMap: ConfigMap `rows` has no key `c.csv`; there is `a.csv`");
    let wrong = with_data("c.txt");
    let said = refusal(&[("load.yaml", &wrong), ("map.yaml", CONFIG_MAP)]);
    assert!(said.contains("spec.data[0].configMap.key: must match"), "{said}");
}
