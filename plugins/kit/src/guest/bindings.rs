//! Bindings from `wit/weir.wit`, one private world per hook: a component exports the union of
//! those that `export!` names.

/// What every component imports and exports.
pub mod lifecycle {
    wit_bindgen::generate!({
        inline: "package weir:kit; world kit-lifecycle {
            import weir:plugin/host@1.0.0;
            export weir:plugin/lifecycle@1.0.0;
        }",
        path: "../../wit",
        world: "weir:kit/kit-lifecycle",
        pub_export_macro: true,
        export_macro_name: "export_lifecycle",
        default_bindings_module: "weir_plugin::guest::lifecycle",
        runtime_path: "weir_plugin::wit_bindgen::rt",
        generate_all,
    });
}

/// The hook `filter`.
pub mod filter {
    wit_bindgen::generate!({
        inline: "package weir:kit; world kit-filter { export weir:plugin/filter@1.0.0; }",
        path: "../../wit",
        world: "weir:kit/kit-filter",
        pub_export_macro: true,
        export_macro_name: "export_filter",
        default_bindings_module: "weir_plugin::guest::filter",
        runtime_path: "weir_plugin::wit_bindgen::rt",
        generate_all,
    });
    pub use exports::weir::plugin::filter::Batch as WireBatch;
}

/// The hook `key`.
pub mod key {
    wit_bindgen::generate!({
        inline: "package weir:kit; world kit-key { export weir:plugin/ordering-key@1.0.0; }",
        path: "../../wit",
        world: "weir:kit/kit-key",
        pub_export_macro: true,
        export_macro_name: "export_key",
        default_bindings_module: "weir_plugin::guest::key",
        runtime_path: "weir_plugin::wit_bindgen::rt",
        generate_all,
    });
    pub use exports::weir::plugin::ordering_key::{Batch as WireBatch, KeySpans};
}

/// The hook `route`.
pub mod route {
    wit_bindgen::generate!({
        inline: "package weir:kit; world kit-route { export weir:plugin/router@1.0.0; }",
        path: "../../wit",
        world: "weir:kit/kit-route",
        pub_export_macro: true,
        export_macro_name: "export_route",
        default_bindings_module: "weir_plugin::guest::route",
        runtime_path: "weir_plugin::wit_bindgen::rt",
        generate_all,
    });
    pub use exports::weir::plugin::router::Batch as WireBatch;
}

/// The hooks `transform` and `project`.
pub mod mapper {
    wit_bindgen::generate!({
        inline: "package weir:kit; world kit-mapper { export weir:plugin/mapper@1.0.0; }",
        path: "../../wit",
        world: "weir:kit/kit-mapper",
        pub_export_macro: true,
        export_macro_name: "export_mapper",
        default_bindings_module: "weir_plugin::guest::mapper",
        runtime_path: "weir_plugin::wit_bindgen::rt",
        generate_all,
    });
    pub use exports::weir::plugin::mapper::{Batch as WireBatch, HeaderChange, Mapped};
}

/// The hook `retry-policy`.
pub mod retry {
    wit_bindgen::generate!({
        inline: "package weir:kit; world kit-retry { export weir:plugin/retry@1.0.0; }",
        path: "../../wit",
        world: "weir:kit/kit-retry",
        pub_export_macro: true,
        export_macro_name: "export_retry",
        default_bindings_module: "weir_plugin::guest::retry",
        runtime_path: "weir_plugin::wit_bindgen::rt",
        generate_all,
    });
    pub use exports::weir::plugin::retry::{Batch as WireBatch, Decision, Failure};
}
