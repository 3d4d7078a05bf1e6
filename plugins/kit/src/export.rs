//! `export!`: the one macro that names all hooks a component exports.

/// Exports the hooks of a component: one entry per hook, with the type that implements it.
///
/// ```
/// # use weir_plugin::{Columns, Config, Error, Filter, Project, Record, View};
/// struct Mine;
/// # impl Filter for Mine {
/// #     fn configure(_: &Config, _: &mut Columns) -> Result<Self, Error> { Ok(Self) }
/// #     fn keep(&self, _: Record<'_>) -> Result<bool, Error> { Ok(true) }
/// # }
/// # impl Project for Mine {
/// #     fn configure(_: &Config, _: &mut Columns) -> Result<Self, Error> { Ok(Self) }
/// #     fn project(&self, _: Record<'_>, _: &mut View<'_>) -> Result<(), Error> { Ok(()) }
/// # }
/// // impl Filter for Mine { … }
/// // impl Project for Mine { … }
/// weir_plugin::export! { filter: Mine, project: Mine }
/// # fn main() {}
/// ```
///
/// The hooks are `transform`, `route`, `key`, `filter`, `project` and `retry_policy`. Natively the
/// macro only checks that the types implement them, so that a plugin's tests are ordinary tests.
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
                    Err($crate::guest::no_such_hook(hook, &[$( $crate::__hook!($hook) ),+]))
                }
            }
            $crate::guest::lifecycle::export_lifecycle!(
                Exports with_types_in $crate::guest::lifecycle
            );
            $( $crate::__slot!($crate::__marker!($hook), $plugin, Exports); )+
            $( $crate::__export_hook!($hook, Exports); )+
            $crate::__export_mapper!(Exports, [$($hook)+] $($hook)+);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __check_hook {
    (transform, $plugin:ty) => {
        const fn transform<T: $crate::Transform>() {}
        transform::<$plugin>();
    };
    (route, $plugin:ty) => {
        const fn route<T: $crate::Route>() {}
        route::<$plugin>();
    };
    (key, $plugin:ty) => {
        const fn key<T: $crate::Key>() {}
        key::<$plugin>();
    };
    (filter, $plugin:ty) => {
        const fn filter<T: $crate::Filter>() {}
        filter::<$plugin>();
    };
    (project, $plugin:ty) => {
        const fn project<T: $crate::Project>() {}
        project::<$plugin>();
    };
    (retry_policy, $plugin:ty) => {
        const fn retry_policy<T: $crate::RetryPolicy>() {}
        retry_policy::<$plugin>();
    };
    ($other:ident, $plugin:ty) => {
        compile_error!(concat!(
            "there is no hook `",
            stringify!($other),
            "`; the hooks are transform, route, key, filter, project, retry_policy"
        ));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __hook {
    (transform) => {
        $crate::guest::Hook::Transform
    };
    (route) => {
        $crate::guest::Hook::Route
    };
    (key) => {
        $crate::guest::Hook::Key
    };
    (filter) => {
        $crate::guest::Hook::Filter
    };
    (project) => {
        $crate::guest::Hook::Project
    };
    (retry_policy) => {
        $crate::guest::Hook::RetryPolicy
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __marker {
    (transform) => {
        $crate::guest::TransformHook
    };
    (route) => {
        $crate::guest::RouteHook
    };
    (key) => {
        $crate::guest::KeyHook
    };
    (filter) => {
        $crate::guest::FilterHook
    };
    (project) => {
        $crate::guest::ProjectHook
    };
    (retry_policy) => {
        $crate::guest::RetryPolicyHook
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
    (filter, $exports:ident) => {
        impl $crate::guest::filter::exports::weir::plugin::filter::Guest for $exports {
            fn filter(batch: $crate::guest::filter::WireBatch) -> Result<Vec<u8>, String> {
                $crate::guest::run_filter::<$exports>(batch)
            }
        }
        $crate::guest::filter::export_filter!($exports with_types_in $crate::guest::filter);
    };
    (key, $exports:ident) => {
        impl $crate::guest::key::exports::weir::plugin::ordering_key::Guest for $exports {
            fn keys(
                batch: $crate::guest::key::WireBatch,
            ) -> Result<$crate::guest::key::KeySpans, String> {
                $crate::guest::run_keys::<$exports>(batch)
            }
        }
        $crate::guest::key::export_key!($exports with_types_in $crate::guest::key);
    };
    (route, $exports:ident) => {
        impl $crate::guest::route::exports::weir::plugin::router::Guest for $exports {
            fn route(batch: $crate::guest::route::WireBatch) -> Result<Vec<u64>, String> {
                $crate::guest::run_route::<$exports>(batch)
            }
        }
        $crate::guest::route::export_route!($exports with_types_in $crate::guest::route);
    };
    (retry_policy, $exports:ident) => {
        impl $crate::guest::retry::exports::weir::plugin::retry::Guest for $exports {
            fn decide(
                batch: $crate::guest::retry::WireBatch,
                failures: Vec<$crate::guest::retry::Failure>,
            ) -> Result<Vec<$crate::guest::retry::Decision>, String> {
                $crate::guest::run_retry_policy::<$exports>(batch, &failures)
            }
        }
        $crate::guest::retry::export_retry!($exports with_types_in $crate::guest::retry);
    };
    // These two share an interface: see `__export_mapper`.
    (transform, $exports:ident) => {};
    (project, $exports:ident) => {};
}

/// Exports `mapper` if one of the hooks needs it, once if both do. The brackets hold all hooks,
/// what follows those that are still to be looked at.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_mapper {
    ($exports:ident, [$($all:ident)+]) => {};
    ($exports:ident, [$($all:ident)+] transform $($rest:ident)*) => {
        $crate::__mapper!($exports, $($all)+);
    };
    ($exports:ident, [$($all:ident)+] project $($rest:ident)*) => {
        $crate::__mapper!($exports, $($all)+);
    };
    ($exports:ident, [$($all:ident)+] $other:ident $($rest:ident)*) => {
        $crate::__export_mapper!($exports, [$($all)+] $($rest)*);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __mapper {
    ($exports:ident, $($hook:ident)+) => {
        impl $crate::guest::mapper::exports::weir::plugin::mapper::Guest for $exports {
            fn apply(
                batch: $crate::guest::mapper::WireBatch,
            ) -> Result<$crate::guest::mapper::Mapped, String> {
                $( $crate::__apply!($hook, $exports, batch); )+
                Err($crate::guest::NOT_CONFIGURED.to_owned())
            }
        }
        $crate::guest::mapper::export_mapper!($exports with_types_in $crate::guest::mapper);
    };
}

/// Runs the hook, if it is the one that this instance was configured for.
#[doc(hidden)]
#[macro_export]
macro_rules! __apply {
    (transform, $exports:ident, $batch:ident) => {
        if <$exports as $crate::guest::Slot<$crate::guest::TransformHook>>::is_configured() {
            return $crate::guest::run_transform::<$exports>($batch);
        }
    };
    (project, $exports:ident, $batch:ident) => {
        if <$exports as $crate::guest::Slot<$crate::guest::ProjectHook>>::is_configured() {
            return $crate::guest::run_project::<$exports>($batch);
        }
    };
    ($other:ident, $exports:ident, $batch:ident) => {};
}
