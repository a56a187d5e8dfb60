//! The keys of a configuration, section by section, and what may stand there.

/// A key of a section.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// The types that its value may have, in the words of the error message; none for any.
    pub(super) types: &'static str,
    pub(super) rule: Rule,
}

/// What a value must be beyond its type.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    Nothing,
    AtLeast(i64),
    Above(i64),
    Between(i64, i64),
    OneOf(&'static [&'static str]),
    /// Each item is of this type.
    Items(&'static str),
    /// An object with one of the units of a length.
    Length,
    /// A length above nothing, or a number of no unit.
    SearcherLength,
    /// A path of a store that does not lead upwards.
    NoWayUp,
    /// A path from the root; the name says of what.
    Absolute(&'static str),
    /// Nothing may stand here any more.
    Deprecated,
}

pub(super) type Section = &'static [Key];

const fn key(name: &'static str, types: &'static str) -> Key {
    Key {
        name,
        types,
        rule: Rule::Nothing,
    }
}

impl Key {
    const fn and(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }
}

const fn integer(name: &'static str) -> Key {
    key(name, "integer or null")
}

const fn count(name: &'static str) -> Key {
    integer(name).and(Rule::AtLeast(0))
}

const fn flag(name: &'static str) -> Key {
    key(name, "boolean or null")
}

const fn text(name: &'static str) -> Key {
    key(name, "string or null")
}

const fn object(name: &'static str) -> Key {
    key(name, "object or null")
}

const fn list(name: &'static str) -> Key {
    key(name, "array or null")
}

const fn any(name: &'static str) -> Key {
    key(name, "")
}

pub(super) const EXPERIMENT: Section = &[
    list("bind_mounts"),
    any("checkpoint_policy").and(Rule::OneOf(&["best", "all", "none"])),
    object("checkpoint_storage"),
    object("data"),
    object("data_layer"),
    flag("debug"),
    text("description"),
    key("entrypoint", "string or array or null").and(Rule::Items("string")),
    object("environment"),
    object("hyperparameters"),
    object("integrations"),
    key("internal", "null"),
    list("labels").and(Rule::Items("string")),
    list("log_policies"),
    count("max_restarts"),
    object("min_checkpoint_period").and(Rule::Length),
    object("min_validation_period").and(Rule::Length),
    text("name"),
    object("optimizations"),
    object("pbs"),
    flag("perform_initial_validation"),
    integer("preemption_timeout"),
    object("profiling"),
    text("project"),
    integer("records_per_epoch"),
    object("reproducibility"),
    object("resources"),
    object("retention_policy"),
    integer("scheduling_unit").and(Rule::AtLeast(1)),
    object("searcher"),
    object("security"),
    object("slurm"),
    object("tensorboard_storage").and(Rule::Deprecated),
    text("workspace"),
];

/// A section of which nothing but its keys is asked.
pub(super) struct Plain {
    /// Where it stands: keys with dots between them, `[]` after a list of such sections.
    pub(super) path: &'static str,
    pub(super) keys: Section,
    pub(super) required: &'static [&'static str],
}

const fn plain(path: &'static str, keys: Section) -> Plain {
    Plain {
        path,
        keys,
        required: &[],
    }
}

impl Plain {
    const fn with(mut self, required: &'static [&'static str]) -> Self {
        self.required = required;
        self
    }
}

pub(super) const SECTIONS: &[Plain] = &[
    plain("bind_mounts[]", BIND_MOUNT).with(&["host_path", "container_path"]),
    plain("environment", ENVIRONMENT),
    plain("environment.proxy_ports[]", PROXY_PORT).with(&["proxy_port"]),
    plain("environment.registry_auth", REGISTRY_AUTH),
    plain("integrations", &[object("pachyderm"), object("webhooks")]),
    plain("integrations.pachyderm", PACHYDERM).with(&["pachd", "proxy", "dataset"]),
    plain(
        "integrations.pachyderm.dataset",
        &[
            needed_text("project"),
            needed_text("repo"),
            needed_text("commit"),
            needed_text("branch"),
            needed_text("token"),
        ],
    )
    .with(&["project", "repo", "commit", "branch", "token"]),
    plain(
        "integrations.pachyderm.pachd",
        &[needed_text("host"), key("port", "integer")],
    )
    .with(&["host", "port"]),
    plain(
        "integrations.pachyderm.proxy",
        &[
            needed_text("scheme"),
            needed_text("host"),
            key("port", "integer"),
        ],
    )
    .with(&["scheme", "host", "port"]),
    plain(
        "integrations.webhooks",
        &[
            list("webhook_id"),
            list("webhook_name").and(Rule::Items("string")),
            flag("exclude"),
        ],
    ),
    plain(
        "log_policies[]",
        &[
            text("name"),
            text("pattern"),
            key("action", "string or object or null"),
        ],
    ),
    plain("optimizations", OPTIMIZATIONS),
    plain(
        "pbs",
        &[
            integer("slots_per_node").and(Rule::AtLeast(1)),
            list("pbsbatch_args").and(Rule::Items("string")),
        ],
    ),
    plain("profiling", PROFILING),
    plain("reproducibility", REPRODUCIBILITY),
    plain("resources", RESOURCES),
    plain("resources.devices[]", DEVICE).with(&["host_path", "container_path"]),
    plain(
        "retention_policy",
        &[integer("log_retention_days").and(Rule::Between(-1, 32767))],
    ),
    plain(
        "slurm",
        &[
            integer("slots_per_node").and(Rule::AtLeast(1)),
            text("gpu_type"),
            list("sbatch_args").and(Rule::Items("string")),
        ],
    ),
];

const fn needed_text(name: &'static str) -> Key {
    key(name, "string")
}

const BIND_MOUNT: Section = &[
    needed_text("host_path").and(Rule::Absolute("host_path")),
    needed_text("container_path"),
    flag("read_only"),
    text("propagation"),
];

const DEVICE: Section = &[
    needed_text("host_path"),
    needed_text("container_path"),
    text("mode"),
];

const PROXY_PORT: Section = &[
    key("proxy_port", "number"),
    flag("proxy_tcp"),
    flag("unauthenticated"),
    flag("default_service_id"),
];

const REGISTRY_AUTH: Section = &[
    text("username"),
    text("password"),
    text("auth"),
    text("email"),
    text("serveraddress"),
    text("identitytoken"),
    text("registrytoken"),
];

const PACHYDERM: Section = &[
    key("pachd", "object"),
    key("proxy", "object"),
    key("dataset", "object"),
];

const ENVIRONMENT: Section = &[
    list("add_capabilities").and(Rule::Items("string")),
    list("drop_capabilities").and(Rule::Items("string")),
    key("environment_variables", "object or array or null"),
    flag("force_pull_image"),
    key("image", "object or string or null"),
    object("pod_spec"),
    object("ports"),
    list("proxy_ports"),
    object("registry_auth"),
];

const OPTIMIZATIONS: Section = &[
    integer("aggregation_frequency").and(Rule::AtLeast(1)),
    flag("auto_tune_tensor_fusion"),
    flag("average_aggregated_gradients"),
    flag("average_training_metrics"),
    text("grad_updates_size_file"),
    flag("gradient_compression"),
    any("mixed_precision").and(Rule::OneOf(&["O0", "O1", "O2", "O3"])),
    count("tensor_fusion_cycle_time"),
    count("tensor_fusion_threshold"),
];

const PROFILING: Section = &[
    count("begin_on_batch"),
    flag("enabled"),
    count("end_after_batch"),
    flag("sync_timings"),
];

const REPRODUCIBILITY: Section = &[count("experiment_seed")];

const RESOURCES: Section = &[
    text("agent_label"),
    list("devices"),
    flag("is_single_node"),
    integer("max_slots"),
    flag("native_parallel"),
    integer("priority").and(Rule::Between(1, 99)),
    text("resource_pool"),
    key("shm_size", "integer or string or null"),
    integer("slots"),
    count("slots_per_trial"),
    key("weight", "number or null"),
];

/// A section that comes in kinds: which key tells the kind, what all have, and what each has besides.
pub(super) struct Union {
    pub(super) tag: &'static str,
    pub(super) common: Section,
    pub(super) kinds: &'static [(&'static str, Section)],
    /// What is said of an unknown kind.
    pub(super) unknown: &'static str,
}

pub(super) const SEARCHER: Union = Union {
    tag: "name",
    common: &[
        text("metric"),
        flag("smaller_is_better"),
        text("source_checkpoint_uuid"),
        integer("source_trial_id"),
    ],
    kinds: &[
        ("single", &[LENGTH]),
        ("random", &[LENGTH, CONCURRENT, TRIALS]),
        ("grid", &[LENGTH, CONCURRENT]),
        (
            "adaptive_asha",
            &[
                LENGTH,
                CONCURRENT,
                TRIALS,
                BRACKET_RUNGS,
                DIVISOR,
                MAX_RUNGS,
                MODE,
                integer("max_time"),
                flag("stop_once"),
                text("time_metric"),
            ],
        ),
        (
            "async_halving",
            &[
                OLD_LENGTH,
                CONCURRENT,
                TRIALS,
                DIVISOR,
                RUNGS,
                integer("max_time"),
                flag("stop_once"),
                text("time_metric"),
            ],
        ),
        // The rest are known, and refused once all else is right with them.
        ("custom", &[text("unit")]),
        (
            "adaptive",
            &[
                OLD_LENGTH,
                DIVISOR,
                MODE,
                MAX_RUNGS,
                BRACKET_RUNGS,
                object("budget").and(Rule::Length),
                flag("train_stragglers"),
            ],
        ),
        (
            "adaptive_simple",
            &[
                OLD_LENGTH,
                DIVISOR,
                MODE,
                MAX_RUNGS,
                integer("max_trials").and(Rule::Between(1, 2000)),
            ],
        ),
        (
            "sync_halving",
            &[
                OLD_LENGTH,
                DIVISOR,
                RUNGS,
                object("budget").and(Rule::SearcherLength),
                flag("train_stragglers"),
            ],
        ),
    ],
    unknown: "is not an object where object[\"name\"] is one of 'single', 'random', 'grid', 'custom', or 'adaptive_asha'",
};

const LENGTH: Key = key("max_length", "object or integer or null").and(Rule::SearcherLength);
const OLD_LENGTH: Key = object("max_length").and(Rule::SearcherLength);
const BRACKET_RUNGS: Key = list("bracket_rungs").and(Rule::Items("integer"));
const DIVISOR: Key = key("divisor", "number or null").and(Rule::Above(1));
const MAX_RUNGS: Key = integer("max_rungs").and(Rule::AtLeast(1));
const RUNGS: Key = integer("num_rungs").and(Rule::AtLeast(1));
const MODE: Key = any("mode").and(Rule::OneOf(&["aggressive", "standard", "conservative"]));
const CONCURRENT: Key = count("max_concurrent_trials");
const TRIALS: Key = integer("max_trials").and(Rule::AtLeast(1));

pub(super) const STORAGE: Union = Union {
    tag: "type",
    common: &[
        count("save_experiment_best"),
        count("save_trial_best"),
        count("save_trial_latest"),
    ],
    kinds: &[
        (
            "shared_fs",
            &[
                text("checkpoint_path"),
                text("container_path"),
                text("host_path"),
                text("propagation"),
                text("storage_path"),
                text("tensorboard_path"),
            ],
        ),
        ("directory", &[text("container_path")]),
        (
            "s3",
            &[
                text("access_key"),
                text("bucket"),
                text("endpoint_url"),
                text("prefix").and(Rule::NoWayUp),
                text("secret_key"),
            ],
        ),
        ("gcs", &[text("bucket"), text("prefix").and(Rule::NoWayUp)]),
        (
            "azure",
            &[
                text("account_url"),
                text("connection_string"),
                text("container"),
                text("credential"),
            ],
        ),
    ],
    unknown: "is not an object where object[\"type\"] is one of 'shared_fs', 'directory', 's3', 'gcs', or 'azure'",
};

/// The kinds of hyperparameters: their keys, and which of these they must have.
pub(super) const HYPERPARAMETERS: &[(&str, Section, &[&str])] = &[
    ("const", &[any("type"), any("val")], &["val"]),
    (
        "categorical",
        &[any("type"), key("vals", "array")],
        &["vals"],
    ),
    (
        "int",
        &[
            any("type"),
            key("minval", "integer"),
            key("maxval", "integer"),
            STEPS,
        ],
        &["minval", "maxval"],
    ),
    (
        "double",
        &[
            any("type"),
            key("minval", "number"),
            key("maxval", "number"),
            STEPS,
        ],
        &["minval", "maxval"],
    ),
    (
        "log",
        &[
            any("type"),
            key("minval", "number"),
            key("maxval", "number"),
            key("base", "number"),
            STEPS,
        ],
        &["minval", "maxval", "base"],
    ),
];

const STEPS: Key = integer("count").and(Rule::AtLeast(1));
