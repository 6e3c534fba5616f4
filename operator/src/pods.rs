//! What a pod's status says, in the cluster's own words. Pure. Start at [`trouble`].

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};

use crate::build::COMPONENT;

/// Reasons for which a waiting container needs somebody's help.
const STUCK: [&str; 9] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

/// `master` or `runner`.
pub(crate) fn component(pod: &Pod) -> Option<&str> {
    Some(pod.metadata.labels.as_ref()?.get(COMPONENT)?)
}

pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The one that was made last.
pub(crate) fn newest<'a>(pods: impl Iterator<Item = &'a Pod>) -> Option<&'a Pod> {
    pods.max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|made| made.0))
}

/// Whether its container's readiness is proven.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|(status, _)| status == "True")
}

/// Whether every container has ended for good.
pub(crate) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase.is_some_and(|phase| ["Succeeded", "Failed"].contains(&phase))
}

/// What its container printed or left when it last ended.
pub(crate) fn last_message(pod: &Pod) -> Option<&str> {
    let status = container(pod)?;
    [&status.state, &status.last_state]
        .into_iter()
        .filter_map(|state| state.as_ref()?.terminated.as_ref()?.message.as_deref())
        .find(|message| !message.is_empty())
}

/// How it ended, in a few words, such as `exit code 137: OOMKilled`.
pub(crate) fn end(pod: &Pod) -> String {
    if let Some(end) = container(pod).and_then(|status| status.state.as_ref()?.terminated.as_ref()) {
        let reason = end.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        return format!("exit code {}{reason}", end.exit_code);
    }
    let reason = pod.status.as_ref().and_then(|status| status.reason.as_deref());
    reason.unwrap_or("the pod has ended").to_owned()
}

/// What keeps it from running: a word for programs, and the cluster's own words.
pub(crate) fn trouble(pod: &Pod) -> Option<(&'static str, String)> {
    if let Some(("False", words)) = condition(pod, "PodScheduled") {
        return Some(("Unschedulable", format!("pod {}: {words}", name(pod))));
    }
    let state = container(pod)?.state.as_ref()?;
    let ContainerState { waiting: Some(waiting), .. } = state else { return None };
    let reason = waiting.reason.as_deref()?;
    let words = waiting.message.as_deref().unwrap_or_default();
    // The kubelet goes to and fro between the two as long as the image is missing: that is one trouble, not many.
    let (reason, words) = match (reason, words.split_once(": ErrImagePull: ")) {
        ("ImagePullBackOff", Some((_, cause))) => ("ErrImagePull", cause),
        _ => (reason, words),
    };
    let known = STUCK.iter().find(|stuck| **stuck == reason)?;
    Some((known, format!("pod {}: {reason}: {words}", name(pod))))
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

/// A condition's status and message.
fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<(&'a str, &'a str)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((&condition.status, condition.message.as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap()
    }

    #[test]
    fn trouble_is_told_in_the_clusters_own_words() {
        let unschedulable = pod(&json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}]}));
        assert_eq!(
            trouble(&unschedulable),
            Some(("Unschedulable", "pod p: 0/1 nodes are available: 1 Insufficient cpu.".to_owned()))
        );
        let image =
            pod(&json!({"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]}));
        assert_eq!(trouble(&image), Some(("ErrImagePull", "pod p: ErrImagePull: not found".to_owned())));
    }

    #[test]
    fn a_pull_that_is_tried_again_and_again_is_one_trouble() {
        let waiting = |reason: &str, message: &str| {
            pod(&json!({"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}]}))
        };
        let tried = waiting("ErrImagePull", "failed to pull i: not found");
        let again = "Back-off pulling image \"i\": ErrImagePull: failed to pull i: not found";
        assert_eq!(trouble(&tried), trouble(&waiting("ImagePullBackOff", again)));
        assert!(trouble(&tried).is_some());
    }

    #[test]
    fn a_container_that_is_being_made_is_no_trouble() {
        let starting =
            pod(&json!({"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}]}));
        assert_eq!(trouble(&starting), None);
    }

    #[test]
    fn the_last_words_of_a_restarted_container_are_those_of_its_last_life() {
        let restarted =
            pod(&json!({"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true,
            "restartCount": 1, "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 1, "message": "gone"}}}]}));
        assert_eq!(last_message(&restarted), Some("gone"));
        assert!(!has_ended(&restarted));
    }
}
