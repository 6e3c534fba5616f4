//! The part of a manifest's schema that a CRD leaves to the API server: kind, version and metadata.

use serde_json::{Value, json};

/// The CRD's schema with the fields that Kubernetes adds, and without the status, which only a cluster writes.
pub(super) fn complete(mut schema: Value) -> Value {
    let labels =
        json!({ "type": "object", "additionalProperties": { "type": "string", "maxLength": 262_144 } });
    let metadata = json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": { "type": "string", "minLength": 1, "maxLength": 253 },
            "namespace": { "type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" },
            "labels": labels,
            "annotations": labels,
            // Without a type: a cluster writes these, and here they are left out unread.
            "creationTimestamp": {}, "deletionGracePeriodSeconds": {}, "deletionTimestamp": {}, "finalizers": {},
            "generateName": {}, "generation": {}, "managedFields": {}, "ownerReferences": {},
            "resourceVersion": {}, "selfLink": {}, "uid": {}
        }
    });
    schema["properties"]["apiVersion"] = json!({ "type": "string", "enum": ["aiotest.dev/v1alpha1"] });
    schema["properties"]["kind"] = json!({ "type": "string", "enum": ["LoadTest"] });
    schema["properties"]["metadata"] = metadata;
    schema["properties"]["status"] = json!({});
    schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
    schema
}
