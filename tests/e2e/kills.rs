//! Nothing acknowledged is lost, nothing is doubled, order is kept, requests are whole: while the
//! broker is killed, on a file system that loses what was not synced, while replies get lost and
//! bindings change.

use weir_harness::crash::{Plan, run};
use weir_harness::report::{deep, seed};

use crate::setup;

fn plan(name: &str, kills: usize) -> Plan {
    Plan {
        setup: setup(),
        switches: Vec::new(),
        kills: deep(kills),
        behind_deliveries_percent: 30,
        rebinds: false,
        seed: seed(name),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times() {
    let name = "killed";
    run(plan(name, 20)).await.expect_good(name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cut_ten_times() {
    let name = "power cut";
    let plan = plan(name, 10);
    let setup = plan.setup.clone().with("WEIR_VFS", "lazy");
    run(Plan { setup, ..plan }).await.expect_good(name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_change_between_send_and_retry() {
    let name = "rebound";
    let plan = plan(name, 10);
    let setup = plan.setup.clone().with("WEIR_VFS", "lazy");
    let switches = vec![("WEIR_DROP_REPLIES", "0.1".to_owned())];
    let outcome = run(Plan {
        setup,
        switches,
        rebinds: true,
        ..plan
    })
    .await;
    outcome.expect_good(name);
    assert!(
        outcome.rebinds > 0,
        "no binding changed while requests were in flight"
    );
    assert!(outcome.resent > 0, "no request was sent again");
}
