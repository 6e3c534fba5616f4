//! The manifests that people copy from are good.

use std::fs;
use std::path::Path;

use serde_json::Value;

#[test]
fn every_example_is_accepted() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut checked = 0;
    for folder in fs::read_dir(examples).unwrap() {
        let manifest = folder.unwrap().path().join("loadtest.yaml");
        let Ok(text) = fs::read_to_string(&manifest) else { continue };
        let value: Value = serde_saphyr::from_str(&text).unwrap();
        if let Err(problems) = aiotest_api::check(&value) {
            panic!("{}: {problems:#?}", manifest.display());
        }
        checked += 1;
    }
    assert!(checked > 0, "there are no examples");
}
