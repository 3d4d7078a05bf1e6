//! Flags over file over defaults.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: ServeArgs,
}

fn parse(flags: &[&str]) -> ServeArgs {
    let line = std::iter::once("serve").chain(flags.iter().copied());
    Line::try_parse_from(line).unwrap().args
}

fn refused(flags: &[&str]) -> Failure {
    settings(&parse(flags)).unwrap_err()
}

#[test]
fn flags_count_more_than_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.toml");
    let text = r#"
        data_dir = "/from/file"
        listen = "127.0.0.1:1"
        metrics = "127.0.0.1:2"
        [tls]
        names = ["a.example"]
        [limits]
        connections = 7
    "#;
    std::fs::write(&path, text).unwrap();
    let file = path.to_str().unwrap();

    let config = settings(&parse(&["--config", file])).unwrap();
    assert_eq!(config.data_dir, Path::new("/from/file"));
    assert_eq!(config.metrics, Some(SocketAddr::from(([127, 0, 0, 1], 2))));

    let flags = [
        "--config",
        file,
        "--data",
        "/from/flag",
        "--listen",
        "127.0.0.1:3",
        "--metrics",
        "127.0.0.1:4",
        "--name",
        "b.example",
        "--name",
        "c.example",
        "--no-auth",
    ];
    let config = settings(&parse(&flags)).unwrap();
    assert_eq!(config.data_dir, Path::new("/from/flag"));
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.metrics, Some(SocketAddr::from(([127, 0, 0, 1], 4))));
    assert_eq!(config.tls.names, ["a.example", "b.example", "c.example"]);
    assert_eq!(config.limits.connections, 7, "what no flag names stays");
    assert!(config.no_auth);

    let flags = [
        "--config",
        file,
        "--tls-cert",
        "c.pem",
        "--tls-key",
        "k.pem",
    ];
    let config = settings(&parse(&flags)).unwrap();
    assert_eq!(config.tls.cert.as_deref(), Some(Path::new("c.pem")));
    assert!(
        config.tls.names.is_empty(),
        "names are for the certificate the broker makes"
    );
}

#[test]
fn what_is_printed_can_be_used() {
    let config = settings(&parse(&["--print-config", "--no-auth", "--data", "here"])).unwrap();
    assert_eq!(config.data_dir, Path::new("here"), "as it was written");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.toml");
    std::fs::write(&path, config.to_toml()).unwrap();
    let again = settings(&parse(&[
        "--print-config",
        "--config",
        path.to_str().unwrap(),
    ]));
    assert_eq!(again.unwrap(), config);
}

#[test]
fn the_data_directory_becomes_absolute() {
    let config = settings(&parse(&[])).unwrap();
    assert!(config.data_dir.is_absolute());
    assert!(config.data_dir.ends_with("weir-data"));
    assert_eq!(config.plugins.compiler, std::env::current_exe().ok());
}

#[test]
fn wrong_usage_is_wrong_usage() {
    let failure = refused(&["--no-auth", "--listen", "0.0.0.0:7650"]);
    assert_eq!(failure.exit(), Exit::Usage);
    assert!(failure.to_string().contains("127.0.0.1"), "{failure}");

    let failure = refused(&["--config", "/nowhere/weir.toml"]);
    assert_eq!(failure.exit(), Exit::Usage);
    assert!(
        failure.to_string().contains("/nowhere/weir.toml"),
        "{failure}"
    );

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.toml");
    std::fs::write(&path, "lisen = 5").unwrap();
    let failure = refused(&["--config", path.to_str().unwrap()]);
    assert!(
        failure
            .to_string()
            .contains("weir.toml: line 1: unknown field"),
        "{failure}"
    );

    for flags in [
        &["serve", "--tls-cert", "c.pem"][..],
        &["serve", "--tls-key", "k.pem"],
        &["serve", "--tls-cert", "c", "--tls-key", "k", "--name", "a"],
        &["serve", "--listen", "everywhere"],
    ] {
        assert!(Line::try_parse_from(flags).is_err(), "{flags:?}");
    }
}
