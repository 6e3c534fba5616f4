//! What the operator was told when it was started. Holds values; reads nothing. Start at [`Settings`].

use clap::Args;

/// Images and sizes of the pods that carry out load tests.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Image of masters and runners.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) runner_image: String,
    /// When the image is pulled: `Always`, `IfNotPresent` or `Never`.
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    pub(crate) image_pull_policy: String,
    /// Secret in each load test's namespace that the image is pulled with; may be given several times.
    #[arg(long = "image-pull-secret", value_name = "NAME")]
    pub(crate) image_pull_secrets: Vec<String>,
    /// CPU that a runner's pod asks for; it starts a process for each whole one.
    #[arg(long, value_name = "QUANTITY", default_value = "1", value_parser = cpu)]
    pub(crate) runner_cpu: Cpu,
    /// Memory that a runner's pod asks for and is held to.
    #[arg(long, value_name = "QUANTITY", default_value = "1Gi")]
    pub(crate) runner_memory: String,
    /// CPU that a master's pod asks for.
    #[arg(long, value_name = "QUANTITY", default_value = "500m", value_parser = cpu)]
    pub(crate) master_cpu: Cpu,
    /// Memory that a master's pod asks for and is held to.
    #[arg(long, value_name = "QUANTITY", default_value = "512Mi")]
    pub(crate) master_memory: String,
}

/// An amount of CPU as Kubernetes writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// As it was written.
    pub(crate) quantity: String,
    /// In thousandths of a core.
    milli: u32,
}

impl Cpu {
    /// Processes that have a core each; at least one.
    pub(crate) fn processes(&self) -> u32 {
        (self.milli / 1000).max(1)
    }
}

fn cpu(text: &str) -> Result<Cpu, String> {
    let milli = match text.strip_suffix('m') {
        Some(milli) => milli.parse().ok(),
        None => text.parse().ok().map(|cores: f64| cores * 1000.0),
    };
    match milli {
        Some(milli) if (1.0..=1_024_000.0).contains(&milli) => {
            Ok(Cpu { quantity: text.to_owned(), milli: milli as u32 })
        }
        _ => Err("write cores such as 2 or 0.5, or thousandths of a core such as 500m, above 0".to_owned()),
    }
}

#[cfg(test)]
impl Settings {
    pub(crate) fn for_tests() -> Self {
        Self {
            runner_image: "example.org/aiotest-runner:1".to_owned(),
            image_pull_policy: "IfNotPresent".to_owned(),
            image_pull_secrets: Vec::new(),
            runner_cpu: cpu("2").unwrap(),
            runner_memory: "1Gi".to_owned(),
            master_cpu: cpu("500m").unwrap(),
            master_memory: "512Mi".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_has_a_process_for_each_whole_core_and_at_least_one() {
        for (quantity, processes) in [("100m", 1), ("1", 1), ("1.5", 1), ("2", 2), ("3500m", 3)] {
            assert_eq!(cpu(quantity).unwrap().processes(), processes, "{quantity}");
        }
    }

    #[test]
    fn an_amount_that_is_none_is_refused() {
        for quantity in ["", "0", "-1", "1Gi", "m", "NaN", "inf"] {
            assert!(cpu(quantity).is_err(), "{quantity}");
        }
    }
}
