//! Configurations that are read, refused and printed.

use expect_test::{Expect, expect};

use super::{ByteSize, Config, ConfigError};

fn refused(text: &str, message: Expect) {
    let error = Config::from_toml(text).expect_err("this configuration is to be refused");
    message.assert_eq(&error.to_string());
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::from_toml("").unwrap(), Config::default());
}

#[test]
fn the_default_is_printed_whole() {
    expect![[r#"
        data_dir = "./weir-data"
        listen = "127.0.0.1:7650"
        # metrics = "127.0.0.1:9650"
        no_auth = false
        log_lines = "info"

        [tls]
        # cert = "/etc/weir/broker.pem"
        # key = "/etc/weir/broker.key"
        # client_ca = "/etc/weir/clients.pem"
        names = []

        [log]
        wal_file_bytes = "32MiB"
        cache_bytes = "192MiB"
        wal_bytes = "512MiB"
        segment_own_bytes = "8MiB"
        segment_bytes = "1GiB"
        index_bytes = "32MiB"
        compaction_bytes = "64MiB"
        open_files = 256
        reserve_bytes = "1GiB"
        reserve_percent = 5
        retention_interval = "10s"
        scrub_bytes_per_second = "8MiB"

        [limits]
        connections = 1024
        streams_per_connection = 512
        broker_buffer_bytes = "256MiB"
        connection_buffer_bytes = "64MiB"
        dedup_bytes = "256MiB"
        request_deadline = "10s"

        [plugins]
        cpu_time = "100ms"
        wall_time = "5s"
        memory_bytes = "64MiB"
        total_memory_bytes = "1GiB"
        output_bytes = "1MiB"
        log_lines_per_second = 100
        component_bytes = "32MiB"
        compile_time = "1m"
        compile_memory_bytes = "3GiB"
        verdict_cache_bytes = "64MiB"
        threads = 4
        # compiler = "/usr/bin/weir"
    "#]]
    .assert_eq(&Config::default().to_toml());
}

#[test]
fn what_is_printed_reads_back() {
    let text = r#"
        data_dir = "/var/lib/weir"
        listen = "0.0.0.0:0"
        metrics = "127.0.0.1:9100"
        [tls]
        names = ["broker.example", "192.0.2.7"]
        client_ca = "/etc/weir/clients.pem"
        [log]
        wal_file_bytes = 33554433
        cache_bytes = "1.5GiB"
        [limits]
        request_deadline = "1m 30s 5ms"
        [plugins]
        compiler = "/usr/bin/weir"
    "#;
    let config = Config::from_toml(text).unwrap();
    assert_eq!(config.log.cache_bytes, ByteSize::mib(1536));
    assert_eq!(config.log.wal_file_bytes.as_u64(), 33_554_433);
    assert_eq!(config.limits.request_deadline.as_millis(), 90_005);
    assert_eq!(Config::from_toml(&config.to_toml()).unwrap(), config);
}

#[test]
fn mistakes_are_named() {
    refused(
        "listen = 7650",
        expect![[
            r#"line 1: listen: invalid type: integer `7650`, expected socket address; write for example listen = "127.0.0.1:7650" (weir serve --print-config shows every field)"#
        ]],
    );
    refused(
        "lisen = \"127.0.0.1:7650\"",
        expect![
            "line 1: unknown field `lisen`, expected one of `data_dir`, `listen`, `metrics`, `no_auth`, `log_lines`, `tls`, `log`, `limits`, `plugins` (weir serve --print-config shows every field)"
        ],
    );
    refused(
        "\n[limits]\nconections = 5",
        expect![
            "line 3: unknown field `conections`, expected one of `connections`, `streams_per_connection`, `broker_buffer_bytes`, `connection_buffer_bytes`, `dedup_bytes`, `request_deadline` (weir serve --print-config shows every field)"
        ],
    );
    refused(
        "[log]\ncache_bytes = \"64 apples\"",
        expect![[
            r#"line 2: log.cache_bytes: "64 apples" is no size; write for example 64MiB, 1.5GiB or 65536 (weir serve --print-config shows every field)"#
        ]],
    );
    refused(
        "[log]\ncache_bytes = -1",
        expect![[
            r#"line 2: log.cache_bytes: a size is text such as "64MiB" or a number of bytes (weir serve --print-config shows every field)"#
        ]],
    );
    refused(
        "[plugins]\ncpu_time = \"soon\"",
        expect![[
            r#"line 2: plugins.cpu_time: "soon" is no time; write for example 100ms, 10s or 7d (weir serve --print-config shows every field)"#
        ]],
    );
    refused(
        "listen = ",
        expect![
            "line 1: listen: string values must be quoted, expected literal string (weir serve --print-config shows every field)"
        ],
    );
}

#[test]
fn what_cannot_be_is_refused() {
    refused(
        "[limits]\nconnections = 0",
        expect!["limits.connections = 0 cannot be: nobody could connect"],
    );
    refused(
        "[limits]\nbroker_buffer_bytes = \"1MiB\"",
        expect!["limits.broker_buffer_bytes = 1MiB cannot be: at least 64MiB is needed"],
    );
    refused(
        "[plugins]\nthreads = 0",
        expect!["plugins.threads = 0 cannot be: take 1 to 32"],
    );
    refused(
        "[plugins]\nmemory_bytes = \"300MiB\"",
        expect!["plugins.memory_bytes = 300MiB cannot be: at most 256MiB is possible"],
    );
    refused(
        "[plugins]\ntotal_memory_bytes = \"32MiB\"",
        expect!["plugins.total_memory_bytes = 32MiB cannot be: at least 64MiB is needed"],
    );
    refused(
        "[plugins]\ncomponent_bytes = \"33MiB\"",
        expect!["plugins.component_bytes = 33MiB cannot be: at most 32MiB is possible"],
    );
    refused(
        "[plugins]\ncompile_memory_bytes = \"1MiB\"",
        expect!["plugins.compile_memory_bytes = 1MiB cannot be: at least 128MiB is needed"],
    );
    refused(
        "[plugins]\nwall_time = \"50ms\"",
        expect![
            "plugins.wall_time = 50ms cannot be: a call takes at least as long as its processor time (plugins.cpu_time)"
        ],
    );
    refused(
        "[plugins]\ncpu_time = \"0s\"",
        expect!["plugins.cpu_time = 0s cannot be: nothing could be done in no time"],
    );
    refused(
        "[log]\nwal_file_bytes = \"4KiB\"",
        expect!["log.wal_file_bytes = 4KiB cannot be: at least 1MiB is needed"],
    );
    refused(
        "[log]\ncompaction_bytes = \"1023KiB\"",
        expect!["log.compaction_bytes = 1023KiB cannot be: at least 1MiB is needed"],
    );
    refused(
        "data_dir = \"\"",
        expect![[r#"data_dir = "" cannot be: name a directory"#]],
    );
    refused(
        "[tls]\nkey = \"key.pem\"",
        expect!["tls.cert and tls.key go together: set both (--tls-cert, --tls-key), or neither"],
    );
    refused(
        "[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\nnames = [\"a\"]",
        expect![
            "tls.names (--name) are for the certificate that the broker makes itself; a certificate of your own (tls.cert) has its own names: leave one of the two out"
        ],
    );
}

#[test]
fn no_auth_is_for_loopback_only() {
    for listen in ["127.0.0.1:7650", "127.8.8.8:1", "[::1]:7650"] {
        Config::from_toml(&format!("no_auth = true\nlisten = \"{listen}\"")).unwrap();
    }
    for listen in ["0.0.0.0:7650", "[::]:7650", "192.0.2.7:7650"] {
        let error = Config::from_toml(&format!("no_auth = true\nlisten = \"{listen}\""));
        assert!(
            matches!(error, Err(ConfigError::OpenToTheWorld { .. })),
            "{listen}"
        );
    }
}

#[test]
fn sizes_print_exactly() {
    for bytes in [
        0,
        1,
        1023,
        1024,
        1 << 20,
        (1 << 20) + 1,
        3 << 30,
        u64::MAX,
        10_000_000,
    ] {
        let size = ByteSize::bytes(bytes);
        assert_eq!(size.to_string().parse(), Ok(size));
    }
}

#[test]
fn a_wrong_type_is_told_with_its_field_and_an_example() {
    refused(
        "[log]\nretention_interval = 5",
        expect![[
            r#"line 2: log.retention_interval: invalid type: integer `5`, expected a string; write for example retention_interval = "10s" (weir serve --print-config shows every field)"#
        ]],
    );
    refused(
        "log = { open_files = \"many\" }",
        expect![[
            r#"line 1: invalid type: string "many", expected usize (weir serve --print-config shows every field)"#
        ]],
    );
    refused(
        "plugins.threads = \"many\"",
        expect![[
            r#"line 1: plugins.threads: invalid type: string "many", expected usize; write for example plugins.threads = 4 (weir serve --print-config shows every field)"#
        ]],
    );
    refused(
        "metrics = 9650",
        expect![[
            r#"line 1: metrics: invalid type: integer `9650`, expected socket address; write for example metrics = "127.0.0.1:9650" (weir serve --print-config shows every field)"#
        ]],
    );
}

/// What is printed names every field that there is: all that an unknown one could have been.
#[test]
fn every_field_is_printed() {
    let printed = Config::default().to_toml();
    for section in ["", "tls", "log", "limits", "plugins"] {
        let head = if section.is_empty() {
            String::new()
        } else {
            format!("[{section}]\n")
        };
        let error = Config::from_toml(&format!("{head}unknown = 1")).unwrap_err();
        let message = error.to_string();
        let (_, fields) = message.split_once("expected one of ").unwrap();
        let fields = fields.split('`').skip(1).step_by(2);
        let part = printed.split("\n[").find(|part| match section {
            "" => part.starts_with("data_dir"),
            name => part.starts_with(name),
        });
        let part = part.unwrap();
        for field in fields.filter(|field| !printed.contains(&format!("\n[{field}]"))) {
            let is_there = part.lines().any(|line| {
                line.trim_start_matches("# ")
                    .starts_with(&format!("{field} = "))
            });
            assert!(is_there, "{section}.{field}: {printed}");
        }
    }
    // Those that are not set can be taken as they stand.
    let uncommented = printed.replace("# ", "");
    let uncommented = uncommented.replace("names = []", "");
    Config::from_toml(&uncommented).unwrap();
}
