//! What makes the answers of two bindings equal.

use weir_wire::id::PluginVersion;
use weir_wire::plugin::Hook;

/// A component at a hook with a configuration: bindings of equal identity give equal answers, if
/// the plugin is pure.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BindingIdentity {
    version: PluginVersion,
    hook: Hook,
    /// Sorted by name. Those of one name stay in their order, which may mean something. The plugin
    /// gets them like that, so that the order in which they were written makes no difference.
    config: Vec<(String, String)>,
    routes: Vec<String>,
}

impl BindingIdentity {
    pub(super) fn new(
        version: PluginVersion,
        hook: Hook,
        config: &[(String, String)],
        routes: &[String],
    ) -> Self {
        let mut config = config.to_vec();
        config.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self {
            version,
            hook,
            config,
            routes: routes.to_vec(),
        }
    }

    /// The component.
    #[must_use]
    pub fn version(&self) -> PluginVersion {
        self.version
    }

    /// The hook.
    #[must_use]
    pub fn hook(&self) -> Hook {
        self.hook
    }

    /// The settings, sorted by name.
    #[must_use]
    pub fn config(&self) -> &[(String, String)] {
        &self.config
    }

    /// The names of the routes, in their order.
    #[must_use]
    pub fn routes(&self) -> &[String] {
        &self.routes
    }
}

#[cfg(test)]
mod tests {
    use super::{BindingIdentity, Hook, PluginVersion};

    #[test]
    fn the_order_of_settings_matters_only_within_a_name() {
        let identity = |config: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let config: Vec<_> = config.iter().map(pair).collect();
            BindingIdentity::new(PluginVersion::new([1; 32]), Hook::Filter, &config, &[])
        };
        let one = identity(&[("b", "1"), ("a", "1"), ("b", "2")]);
        assert_eq!(one, identity(&[("a", "1"), ("b", "1"), ("b", "2")]));
        assert_ne!(one, identity(&[("a", "1"), ("b", "2"), ("b", "1")]));
        assert_ne!(one, identity(&[("a", "1"), ("b", "1")]));
    }
}
