//! What the pods of masters and runners share: files, a read-only root, no rights. Start at [`Blueprint::pod_spec`].

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, ResourceRequirements,
    SeccompProfile, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::job::tolerations;
use super::{Blueprint, SOURCE_FOLDER};

/// Where every process finds the plan.
pub(super) const ARGS_PLAN: &str = "/etc/aiotest/plan/plan.json";
/// Where every process finds the token.
pub(super) const ARGS_TOKEN: &str = "/etc/aiotest/token/token";

impl Blueprint<'_> {
    /// A pod of one container, away from those of the `other` component where there is room.
    pub(super) fn pod_spec(&self, container: Container, snapshot: &str, token: &str, other: &str) -> PodSpec {
        let secrets = &self.settings.image_pull_secrets;
        let pull_secrets: Vec<_> =
            secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect();
        PodSpec {
            affinity: Some(self.away_from(other)),
            automount_service_account_token: Some(false),
            containers: vec![container],
            // Variables of every Service of the namespace would be noise to a scenario that reads its environment.
            enable_service_links: Some(false),
            image_pull_secrets: Some(pull_secrets).filter(|secrets| !secrets.is_empty()),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    ..SeccompProfile::default()
                }),
                ..PodSecurityContext::default()
            }),
            tolerations: Some(tolerations()),
            volumes: Some(vec![
                map("plan", self.names.plan()),
                map("source", snapshot.to_owned()),
                secret("token", token),
                scratch("tmp", "256Mi"),
            ]),
            ..PodSpec::default()
        }
    }

    /// A container that runs `aiotest` with these arguments.
    pub(super) fn container(&self, name: &str, args: &[&str]) -> Container {
        let pod_name = EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "metadata.name".to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        };
        Container {
            name: name.to_owned(),
            image: Some(self.settings.runner_image.clone()),
            image_pull_policy: Some(self.settings.image_pull_policy.clone()),
            command: Some(vec!["aiotest".to_owned()]),
            args: Some(args.iter().map(|arg| (*arg).to_owned()).collect()),
            working_dir: Some("/tmp".to_owned()),
            env: Some(vec![
                EnvVar {
                    name: "AIOTEST_POD_NAME".to_owned(),
                    value_from: Some(pod_name),
                    ..EnvVar::default()
                },
                variable("HOME", "/tmp"),
                variable("PYTHONDONTWRITEBYTECODE", "1"),
                // What a scenario prints is in the pod's log when it is printed.
                variable("PYTHONUNBUFFERED", "1"),
            ]),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                capabilities: Some(Capabilities {
                    drop: Some(vec!["ALL".to_owned()]),
                    ..Capabilities::default()
                }),
                read_only_root_filesystem: Some(true),
                ..SecurityContext::default()
            }),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            volume_mounts: Some(vec![
                read_only("plan", "/etc/aiotest/plan"),
                read_only("source", SOURCE_FOLDER),
                read_only("token", "/etc/aiotest/token"),
                mount("tmp", "/tmp"),
            ]),
            ..Container::default()
        }
    }
}

/// Memory has a limit; CPU has none, because throttling falsifies what is measured.
pub(super) fn resources(cpu: &str, memory: &str) -> ResourceRequirements {
    let quantity = |name: &str, value: &str| (name.to_owned(), Quantity(value.to_owned()));
    ResourceRequirements {
        requests: Some(BTreeMap::from([quantity("cpu", cpu), quantity("memory", memory)])),
        limits: Some(BTreeMap::from([quantity("memory", memory)])),
        ..ResourceRequirements::default()
    }
}

/// A folder of the pod's own.
pub(super) fn scratch(name: &str, size: &str) -> Volume {
    let folder = EmptyDirVolumeSource {
        size_limit: Some(Quantity(size.to_owned())),
        ..EmptyDirVolumeSource::default()
    };
    Volume { name: name.to_owned(), empty_dir: Some(folder), ..Volume::default() }
}

/// A volume at a path.
pub(super) fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn read_only(name: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(name, path) }
}

fn map(name: &str, of: String) -> Volume {
    let config_map = ConfigMapVolumeSource { name: of, ..ConfigMapVolumeSource::default() };
    Volume { name: name.to_owned(), config_map: Some(config_map), ..Volume::default() }
}

fn secret(name: &str, of: &str) -> Volume {
    let secret = SecretVolumeSource { secret_name: Some(of.to_owned()), ..SecretVolumeSource::default() };
    Volume { name: name.to_owned(), secret: Some(secret), ..Volume::default() }
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), ..EnvVar::default() }
}
