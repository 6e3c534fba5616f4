//! The two Jobs of a run. Start at [`Blueprint::master_job`] and [`Blueprint::runner_job`].

use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Affinity, PodAffinityTerm, PodAntiAffinity, PodSpec, PodTemplateSpec, Probe, Toleration,
    TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::pod::{ARGS_PLAN, ARGS_TOKEN, resources};
use super::{Blueprint, CONTROL_PORT, Copies, METRICS_PORT};

/// Times that a crashing master, or a runner's index, is started again.
const RESTARTS: i32 = 20;
/// Seconds after which the pods of a lost node are replaced; the cluster's default is five minutes.
const LOST_NODE: i64 = 10;
/// What a Job may take beyond the deadlines of its run: pods start, scrapes come in, the operator was away.
const MASTER_MARGIN: Duration = Duration::from_secs(300);
const RUNNER_MARGIN: Duration = Duration::from_secs(60);
/// How long a pod may take to end beyond `deadlines.stop`: a little more than its first process gives itself.
const GRACE: Duration = Duration::from_secs(30);
/// What spreads pods over nodes.
const HOSTNAME: &str = "kubernetes.io/hostname";

impl Blueprint<'_> {
    /// The master: started again after a crash, with what it had written down.
    pub(crate) fn master_job(&self, copies: &Copies, token: &str) -> Job {
        let control = format!(":{CONTROL_PORT}");
        let metrics = format!(":{METRICS_PORT}");
        let args = [
            "master",
            ARGS_PLAN,
            "--token-file",
            ARGS_TOKEN,
            "--control-address",
            &control,
            "--metrics-address",
            &metrics,
            "--state-dir",
            "/var/lib/aiotest",
            "--termination-message",
            "/dev/termination-log",
        ];
        let mut container = self.container("master", &args);
        container.ports = Some(vec![port("control", CONTROL_PORT), port("metrics", METRICS_PORT)]);
        container.readiness_probe = Some(probe("/readyz", 1, 1));
        container.liveness_probe = Some(probe("/healthz", 10, 6));
        container.resources =
            Some(resources(&self.settings.master_cpu.quantity, &self.settings.master_memory));
        container.volume_mounts.get_or_insert_default().push(super::pod::mount("state", "/var/lib/aiotest"));
        let mut pod = self.pod_spec(container, copies, token, "runner");
        pod.restart_policy = Some("OnFailure".to_owned());
        pod.volumes.get_or_insert_default().push(super::pod::scratch("state", "512Mi"));
        pod.termination_grace_period_seconds = Some(self.grace());
        Job {
            metadata: self.meta(self.names.master()),
            spec: Some(JobSpec {
                active_deadline_seconds: Some(self.master_deadline()),
                backoff_limit: Some(RESTARTS),
                completions: Some(1),
                parallelism: Some(1),
                template: self.template("master", pod),
                ..JobSpec::default()
            }),
            ..Job::default()
        }
    }

    /// The runners: an index each, whose pod is replaced when it ends before the run does.
    pub(crate) fn runner_job(&self, copies: &Copies, token: &str) -> Job {
        let master = format!("{}.{}.svc:{CONTROL_PORT}", self.names.master(), self.names.namespace);
        let args = ["pod", ARGS_PLAN, "--master", &master, "--token-file", ARGS_TOKEN];
        let mut container = self.container("runner", &args);
        container.resources =
            Some(resources(&self.settings.runner_cpu.quantity, &self.settings.runner_memory));
        let mut pod = self.pod_spec(container, copies, token, "master");
        pod.restart_policy = Some("Never".to_owned());
        pod.termination_grace_period_seconds = Some(self.grace());
        pod.topology_spread_constraints = Some(vec![TopologySpreadConstraint {
            label_selector: Some(self.selector("runner")),
            max_skew: 1,
            topology_key: HOSTNAME.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            ..TopologySpreadConstraint::default()
        }]);
        let runners = self.load_test.spec.runners.cast_signed();
        Job {
            metadata: self.meta(self.names.runner()),
            spec: Some(JobSpec {
                active_deadline_seconds: Some(self.runner_deadline()),
                backoff_limit_per_index: Some(RESTARTS),
                completion_mode: Some("Indexed".to_owned()),
                completions: Some(runners),
                parallelism: Some(runners),
                pod_replacement_policy: Some("TerminatingOrFailed".to_owned()),
                template: self.template("runner", pod),
                ..JobSpec::default()
            }),
            ..Job::default()
        }
    }

    /// Seconds after which the cluster itself ends the master, should the operator be gone.
    pub(crate) fn master_deadline(&self) -> i64 {
        let deadlines = &self.load_test.spec.deadlines;
        self.run_deadline(deadlines.results.to_std() + MASTER_MARGIN)
    }

    /// As [`Self::master_deadline`], of the runners.
    pub(crate) fn runner_deadline(&self) -> i64 {
        self.run_deadline(RUNNER_MARGIN)
    }

    fn run_deadline(&self, margin: Duration) -> i64 {
        let deadlines = &self.load_test.spec.deadlines;
        let parts = [deadlines.startup.to_std(), deadlines.run.to_std(), deadlines.stop.to_std(), margin];
        parts.iter().sum::<Duration>().as_secs().cast_signed()
    }

    fn grace(&self) -> i64 {
        (self.load_test.spec.deadlines.stop.to_std() + GRACE).as_secs().cast_signed()
    }

    fn template(&self, component: &str, spec: PodSpec) -> PodTemplateSpec {
        let annotations = [
            // A load test's pod that is moved is a gap in its load.
            ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
            ("karpenter.sh/do-not-disrupt", "true"),
        ];
        let metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            labels: Some(self.labels_of(component)),
            annotations: Some(annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..Default::default()
        };
        PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) }
    }

    /// Keeps master and runners apart where there is room: the master must not compete with the load.
    pub(super) fn away_from(&self, component: &str) -> Affinity {
        let term = PodAffinityTerm {
            label_selector: Some(self.selector(component)),
            topology_key: HOSTNAME.to_owned(),
            ..PodAffinityTerm::default()
        };
        Affinity {
            pod_anti_affinity: Some(PodAntiAffinity {
                preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                    pod_affinity_term: term,
                    weight: 100,
                }]),
                ..PodAntiAffinity::default()
            }),
            ..Affinity::default()
        }
    }

    fn selector(&self, component: &str) -> LabelSelector {
        LabelSelector { match_labels: Some(self.labels_of(component)), ..LabelSelector::default() }
    }
}

/// Pods of a lost node go soon, so that their replacements come soon.
pub(super) fn tolerations() -> Vec<Toleration> {
    ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
        .map(|key| Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some("NoExecute".to_owned()),
            toleration_seconds: Some(LOST_NODE),
            ..Toleration::default()
        })
        .into()
}

fn port(name: &str, number: u16) -> k8s_openapi::api::core::v1::ContainerPort {
    k8s_openapi::api::core::v1::ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        ..Default::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    use k8s_openapi::api::core::v1::HTTPGetAction;
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("metrics".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
