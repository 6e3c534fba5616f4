//! What every field of the schema keeps, so that a cluster takes the definition and its rules stay cheap.

use serde_json::Value;

/// Calls `visit` with the path and the schema of every field.
fn each(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        each(&format!("{path}.{name}"), property, visit);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            each(&format!("{path}[]"), &schema[inner], visit);
        }
    }
}

/// Each field of spec and status must keep a convention.
fn check(convention: &str, keeps: impl Fn(&str, &Value) -> bool) {
    let crd = serde_json::to_value(aiotest_api::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut fields = 0;
    for part in ["spec", "status"] {
        each(part, &schema[part], &mut |path, field| {
            fields += 1;
            assert!(keeps(path, field), "{path}: {convention}: {field}");
        });
    }
    assert!(fields > 40, "only {fields} fields were looked at");
}

#[test]
fn every_text_list_map_and_number_has_its_bounds() {
    check("bounds", |path, field| match field["type"].as_str() {
        Some("string") => field["maxLength"].is_u64() || field["enum"].is_array(),
        Some("array") => field["maxItems"].is_u64(),
        Some("integer") => {
            field["minimum"].is_number() && (field["maximum"].is_number() || path.starts_with("status"))
        }
        Some("object") => field["additionalProperties"].is_null() || field["maxProperties"].is_u64(),
        Some("boolean") => true,
        _ => false,
    });
}

#[test]
fn no_number_is_a_float_and_none_has_a_format_that_kubernetes_does_not_know() {
    check("whole numbers", |_, field| field["type"] != "number");
    check("known formats", |_, field| {
        matches!(field["format"].as_str(), None | Some("int32" | "int64" | "date-time"))
    });
}

#[test]
fn a_field_is_left_out_never_null_and_nothing_unknown_is_kept() {
    check("not nullable", |_, field| field["nullable"] != true);
    check("pruned", |_, field| field["x-kubernetes-preserve-unknown-fields"].is_null());
    // The API server refuses `additionalProperties: false` beside properties.
    check("no deny", |_, field| !field["additionalProperties"].is_boolean());
}

#[test]
fn every_list_says_how_it_is_merged_and_every_field_what_it_means() {
    check("list type", |_, field| field["type"] != "array" || field["x-kubernetes-list-type"].is_string());
    check("description", |path, field| path.ends_with("[]") || field["description"].is_string());
}
