//! The report of a run as a ConfigMap, and back. Start at [`report_map`].

use std::collections::BTreeMap;
use std::io::{Read, Write};

use aiotest_core::report::Report;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;

use super::Blueprint;

/// The longest report that is kept as text, in bytes: a ConfigMap holds 1 MiB in all.
const LONGEST_TEXT: usize = 900 * 1024;
/// The longest report that is unpacked, in bytes.
const LONGEST: u64 = 64 * 1024 * 1024;
const TEXT_KEY: &str = "report.json";
const PACKED_KEY: &str = "report.json.gz";

/// The report under `report.json`; compressed under `report.json.gz` where it is too long for that.
pub(crate) fn report_map(blueprint: &Blueprint<'_>, report: &Report) -> ConfigMap {
    // Cannot fail: every map of a report has texts for keys, and none of its numbers is infinite.
    let text = serde_json::to_string_pretty(report).expect("a report is JSON");
    let mut map = ConfigMap {
        metadata: blueprint.meta(blueprint.names.report()),
        immutable: Some(true),
        ..ConfigMap::default()
    };
    if text.len() <= LONGEST_TEXT {
        map.data = Some(BTreeMap::from([(TEXT_KEY.to_owned(), text)]));
    } else {
        map.binary_data = Some(BTreeMap::from([(PACKED_KEY.to_owned(), ByteString(pack(&text)))]));
    }
    map
}

/// The report that a ConfigMap holds, if it holds one.
pub(crate) fn read_report(map: &ConfigMap) -> Option<Report> {
    if let Some(text) = map.data.as_ref().and_then(|data| data.get(TEXT_KEY)) {
        return serde_json::from_str(text).ok();
    }
    let packed = map.binary_data.as_ref()?.get(PACKED_KEY)?;
    let mut text = String::new();
    GzDecoder::new(&packed.0[..]).take(LONGEST).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn pack(text: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    // Writing into memory does not fail.
    packer.write_all(text.as_bytes()).expect("memory takes it");
    packer.finish().expect("memory takes it")
}
