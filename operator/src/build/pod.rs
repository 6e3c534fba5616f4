//! What the pods of masters and runners share: files, a read-only root, no rights. Start at [`Blueprint::pod_spec`].

use std::collections::BTreeMap;

use aiotest_api::LoadTest;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, ResourceRequirements,
    SeccompProfile, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::job::tolerations;
use super::{Blueprint, DATA_FOLDER, Names, SOURCE_FOLDER};

/// Where every process finds the plan.
pub(super) const ARGS_PLAN: &str = "/etc/aiotest/plan/plan.json";
/// What the name of a data set's volume begins with.
const DATA_VOLUME: &str = "data-";
/// Where every process finds the token.
pub(super) const ARGS_TOKEN: &str = "/etc/aiotest/token/token";

/// The copies that a run's pods read, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copies {
    /// Of the source.
    pub(crate) source: String,
    /// Of each data set: the set's name, and the copy's.
    pub(crate) data: Vec<(String, String)>,
}

impl Copies {
    /// Of a source with this hash, with the data sets that the LoadTest has now.
    pub(crate) fn of(load_test: &LoadTest, names: &Names, hash: &str) -> Self {
        let sets = load_test.spec.data.iter().enumerate();
        let data = sets.map(|(index, set)| (set.name.clone(), names.data(hash, index))).collect();
        Self { source: names.snapshot(hash), data }
    }

    /// Those that the pods of a Job read: the spec may have other data sets by now.
    pub(crate) fn read_by(job: &Job, names: &Names, hash: &str) -> Self {
        let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let volumes = pod.and_then(|pod| pod.volumes.as_ref()).into_iter().flatten();
        let data = volumes.filter_map(|volume| {
            let set = volume.name.strip_prefix(DATA_VOLUME)?;
            Some((set.to_owned(), volume.config_map.as_ref()?.name.clone()))
        });
        Self { source: names.snapshot(hash), data: data.collect() }
    }

    /// All names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.data.iter().map(|(_, name)| name).chain([&self.source])
    }
}

impl Blueprint<'_> {
    /// A pod of one container, away from those of the `other` component where there is room.
    pub(super) fn pod_spec(
        &self,
        mut container: Container,
        copies: &Copies,
        token: &str,
        other: &str,
    ) -> PodSpec {
        let sets = copies.data.iter().map(|(set, _)| (format!("{DATA_VOLUME}{set}"), set));
        let mounts = sets.map(|(volume, set)| read_only(&volume, &format!("{DATA_FOLDER}/{set}")));
        container.volume_mounts.get_or_insert_default().extend(mounts);
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
            volumes: Some(self.volumes(copies, token)),
            ..PodSpec::default()
        }
    }

    fn volumes(&self, copies: &Copies, token: &str) -> Vec<Volume> {
        let mut volumes = vec![
            map("plan", self.names.plan()),
            map("source", copies.source.clone()),
            secret("token", token),
            scratch("tmp", "256Mi"),
        ];
        volumes
            .extend(copies.data.iter().map(|(set, copy)| map(&format!("{DATA_VOLUME}{set}"), copy.clone())));
        volumes
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
