//! `export!`: the one macro that names all hooks a component exports.

/// Exports the hooks of a component: `export! { filter: A }`, `export! { key: B, route: C }`.
///
/// Natively it only checks that the types implement the hooks.
#[macro_export]
macro_rules! export {
    ($($hook:ident : $plugin:ty),+ $(,)?) => {
        #[cfg(not(target_family = "wasm"))]
        const _: () = { $( $crate::__check_hook!($hook, $plugin); )+ };

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Exports;

            impl $crate::guest::lifecycle::exports::weir::plugin::lifecycle::Guest for Exports {
                fn configure(
                    hook: $crate::guest::Hook,
                    config: Vec<(String, String)>,
                    routes: Vec<String>,
                ) -> Result<$crate::guest::Projection, String> {
                    $crate::guest::report_panics();
                    $( if hook == $crate::__hook!($hook) {
                        return <Exports as $crate::guest::Slot<$crate::__marker!($hook)>>::configure(
                            config, routes,
                        );
                    } )+
                    Err($crate::guest::no_such_hook(hook, &[$( stringify!($hook) ),+]))
                }
            }
            $crate::guest::lifecycle::export_lifecycle!(
                Exports with_types_in $crate::guest::lifecycle
            );
            $( $crate::__export_hook!($hook, $plugin, Exports); )+
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __check_hook {
    (filter, $plugin:ty) => {
        const fn filter<T: $crate::Filter>() {}
        filter::<$plugin>();
    };
    (key, $plugin:ty) => {
        const fn key<T: $crate::Key>() {}
        key::<$plugin>();
    };
    (route, $plugin:ty) => {
        const fn route<T: $crate::Route>() {}
        route::<$plugin>();
    };
    ($other:ident, $plugin:ty) => {
        compile_error!(concat!(
            "there is no hook `",
            stringify!($other),
            "`; the hooks are filter, key, route"
        ));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __hook {
    (filter) => {
        $crate::guest::Hook::Filter
    };
    (key) => {
        $crate::guest::Hook::Key
    };
    (route) => {
        $crate::guest::Hook::Route
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __marker {
    (filter) => {
        $crate::guest::FilterHook
    };
    (key) => {
        $crate::guest::KeyHook
    };
    (route) => {
        $crate::guest::RouteHook
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __slot {
    ($marker:ty, $plugin:ty, $exports:ident) => {
        impl $crate::guest::Slot<$marker> for $exports {
            type Plugin = $plugin;

            fn with<T>(
                run: impl FnOnce(&::std::cell::OnceCell<$crate::guest::Configured<$plugin>>) -> T,
            ) -> T {
                ::std::thread_local! {
                    static SLOT: ::std::cell::OnceCell<$crate::guest::Configured<$plugin>> =
                        const { ::std::cell::OnceCell::new() };
                }
                SLOT.with(run)
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    (filter, $plugin:ty, $exports:ident) => {
        $crate::__slot!($crate::guest::FilterHook, $plugin, $exports);
        impl $crate::guest::filter::exports::weir::plugin::filter::Guest for $exports {
            fn filter(batch: $crate::guest::filter::WireBatch) -> Result<Vec<u8>, String> {
                $crate::guest::run_filter::<$exports>(batch)
            }
        }
        $crate::guest::filter::export_filter!($exports with_types_in $crate::guest::filter);
    };
    (key, $plugin:ty, $exports:ident) => {
        $crate::__slot!($crate::guest::KeyHook, $plugin, $exports);
        impl $crate::guest::key::exports::weir::plugin::ordering_key::Guest for $exports {
            fn keys(
                batch: $crate::guest::key::WireBatch,
            ) -> Result<$crate::guest::key::KeySpans, String> {
                $crate::guest::run_keys::<$exports>(batch)
            }
        }
        $crate::guest::key::export_key!($exports with_types_in $crate::guest::key);
    };
    (route, $plugin:ty, $exports:ident) => {
        $crate::__slot!($crate::guest::RouteHook, $plugin, $exports);
        impl $crate::guest::route::exports::weir::plugin::router::Guest for $exports {
            fn route(batch: $crate::guest::route::WireBatch) -> Result<Vec<u64>, String> {
                $crate::guest::run_route::<$exports>(batch)
            }
        }
        $crate::guest::route::export_route!($exports with_types_in $crate::guest::route);
    };
}
