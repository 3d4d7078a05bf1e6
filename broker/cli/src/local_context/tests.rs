//! What `serve` writes, and for whom it leaves things alone.

use weir_log::RealVfs;

use super::*;

struct Machine {
    directory: tempfile::TempDir,
    environment: Environment,
}

impl Machine {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let environment = Environment {
            contexts: Some(directory.path().join("config/weir/contexts.toml")),
            ..Environment::default()
        };
        Self {
            directory,
            environment,
        }
    }

    /// A data directory as a broker leaves it.
    fn data(&self, name: &str) -> DataDir {
        let root = std::fs::canonicalize(self.directory.path())
            .unwrap()
            .join(name);
        let data = DataDir::new(root);
        data.create(&RealVfs::new()).unwrap();
        std::fs::write(data.token(), "token").unwrap();
        std::fs::write(data.ca_certificate(), "ca").unwrap();
        data
    }

    fn record(&self, data: &DataDir, port: u16, has_token: bool) -> String {
        let ca = data.ca_certificate();
        let local = Local {
            listen: SocketAddr::from(([127, 0, 0, 1], port)),
            data_dir: data,
            ca: &ca,
            has_token,
        };
        record(&local, &self.environment).unwrap()
    }

    fn contexts(&self) -> Contexts {
        Contexts::load(self.environment.contexts.as_deref().unwrap()).unwrap()
    }
}

#[test]
fn the_first_broker_is_local_and_current() {
    let machine = Machine::new();
    let data = machine.data("one");
    assert_eq!(machine.record(&data, 7650, true), "local (the current one)");
    let contexts = machine.contexts();
    let context = contexts.current().unwrap();
    assert_eq!(context.address.to_string(), "weir://127.0.0.1:7650");
    assert_eq!(context.ca, Some(data.ca_certificate()));
    assert_eq!(context.token_file, Some(data.token()));
    assert_eq!(context.data.as_deref(), Some(data.root()));
}

#[test]
fn a_restart_refreshes_its_own_context() {
    let machine = Machine::new();
    let data = machine.data("one");
    machine.record(&data, 7650, true);
    // It runs, and it is the same one: what counts is the directory.
    let _lock = data.lock(&RealVfs::new()).unwrap();
    assert_eq!(
        machine.record(&data, 7700, false),
        "local (the current one)"
    );
    let contexts = machine.contexts();
    assert_eq!(contexts.contexts.len(), 1);
    let context = contexts.named("local").unwrap();
    assert_eq!(context.address.to_string(), "weir://127.0.0.1:7700");
    assert_eq!(
        context.token_file, None,
        "without authentication no token is named"
    );
}

#[test]
fn another_live_broker_keeps_its_context() {
    let machine = Machine::new();
    let (one, two) = (machine.data("one"), machine.data("two"));
    let lock = one.lock(&RealVfs::new()).unwrap();
    machine.record(&one, 7650, true);
    let written = machine.record(&two, 7651, true);
    assert!(
        written.starts_with("local-2 (the current one is local;"),
        "{written}"
    );
    assert_eq!(
        machine.contexts().named("local").unwrap().data.as_deref(),
        Some(one.root())
    );

    // Once it has ended, its name is free.
    drop(lock);
    let three = machine.data("three");
    assert_eq!(
        machine.record(&three, 7652, true),
        "local (the current one)"
    );
    assert_eq!(
        machine.contexts().named("local").unwrap().data.as_deref(),
        Some(three.root())
    );
}

#[test]
fn what_a_person_added_is_left_alone() {
    let machine = Machine::new();
    let path = machine.environment.contexts.as_deref().unwrap();
    let own = Context {
        address: "weir://far.example:1".parse().unwrap(),
        ca: None,
        token_file: None,
        data: None,
    };
    Contexts::change(path, |contexts| contexts.add("local", own.clone())).unwrap();
    let written = machine.record(&machine.data("one"), 7650, true);
    assert!(written.starts_with("local-2 "), "{written}");
    assert_eq!(machine.contexts().named("local").unwrap(), &own);
    assert_eq!(machine.contexts().current.as_deref(), Some("local"));
}

#[test]
fn a_broken_contexts_file_is_no_reason_not_to_serve() {
    let machine = Machine::new();
    let path = machine.environment.contexts.as_deref().unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "current = 5").unwrap();
    let data = machine.data("one");
    let ca = data.ca_certificate();
    let local = Local {
        listen: SocketAddr::from(([127, 0, 0, 1], 7650)),
        data_dir: &data,
        ca: &ca,
        has_token: true,
    };
    let error = record(&local, &machine.environment).unwrap_err();
    assert!(error.to_string().contains("contexts.toml"), "{error}");
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        "current = 5",
        "it is not overwritten"
    );

    let nowhere = Environment::default();
    let error = record(&local, &nowhere).unwrap_err();
    assert!(error.to_string().contains("XDG_CONFIG_HOME"), "{error}");
}

#[test]
fn addresses_for_this_machine_and_for_others() {
    let data = DataDir::new("/data");
    let ca = data.ca_certificate();
    let local = |listen: &str| Local {
        listen: listen.parse().unwrap(),
        data_dir: &data,
        ca: &ca,
        has_token: true,
    };
    for (listen, address) in [
        ("127.0.0.1:7650", "weir://127.0.0.1:7650"),
        ("0.0.0.0:7650", "weir://127.0.0.1:7650"),
        ("[::]:7651", "weir://[::1]:7651"),
        ("192.0.2.7:1", "weir://192.0.2.7:1"),
    ] {
        assert_eq!(local(listen).address(), address);
    }
    assert!(
        local("[::1]:7650")
            .elsewhere()
            .contains("for this machine only")
    );
    assert_eq!(
        local("192.0.2.7:9").elsewhere(),
        "copy /data/tls/ca.pem (as ca.pem) and /data/token (as token), then: weir context add \
         192.0.2.7 weir://192.0.2.7:9 --ca ca.pem --token-file token"
    );
    assert!(
        local("[2001:db8::7]:9")
            .elsewhere()
            .contains(" add broker weir://[2001:db8::7]:9 ")
    );
    let anywhere = local("0.0.0.0:9").elsewhere();
    let host = weir_broker::tls::host_name().unwrap();
    assert!(
        anywhere.contains(&format!(" add {host} weir://{host}:9 ")),
        "{anywhere}"
    );
}
