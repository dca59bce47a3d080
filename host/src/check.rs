//! Every check that keeps an attack out, by name.
//!
//! All of them always hold. Only a test build (feature `switches`) can switch one off, so that a
//! script can show that at least one case of `pinhole adversary` notices.

/// Declares the checks, each with its name and what it keeps out.
macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $check:ident = $name:literal),+ $(,)?) => {
        /// A check that keeps an attack out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Check {
            $($(#[doc = $doc])+ $check,)+
        }

        impl Check {
            /// All of them, in the order in which a request meets them.
            pub const ALL: &'static [Self] = &[$(Self::$check),+];

            /// By which the script and the pages know it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$check => $name,)+
                }
            }

            /// What it keeps out.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$check => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

checks! {
    // Egress: where to.
    /// No connection goes to an address of this machine or of a private network that nobody granted.
    PrivateAddress = "private-address",
    // Egress: what is sent.
    // Egress: what comes back.
    // Grants and admission.
    // Secrets.
    // Limits of a call.
    // Compiling.
    // Pictures.
    // Text.
}

impl Check {
    /// Does it hold? Always, in a build that serves anybody.
    #[cfg(not(feature = "switches"))]
    #[must_use]
    #[inline(always)]
    pub const fn holds(self) -> bool {
        true
    }

    /// Does it hold, or was it switched off?
    #[cfg(feature = "switches")]
    #[must_use]
    pub fn holds(self) -> bool {
        switched_off() != Some(self)
    }

    /// A limit, or none where the check is switched off.
    #[must_use]
    pub fn limit(self, limit: usize) -> usize {
        match self.holds() {
            true => limit,
            false => usize::MAX,
        }
    }
}

/// The check that `PINHOLE_SWITCHED_OFF` names.
#[cfg(feature = "switches")]
fn switched_off() -> Option<Check> {
    static OFF: std::sync::OnceLock<Option<Check>> = std::sync::OnceLock::new();
    *OFF.get_or_init(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test build, where nothing else is told what to leave out"
        )]
        let name = std::env::var("PINHOLE_SWITCHED_OFF").ok()?;
        Check::ALL
            .iter()
            .copied()
            .find(|check| check.name() == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_a_name_of_its_own_and_holds() {
        let mut names: Vec<_> = Check::ALL.iter().map(|check| check.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Check::ALL.len());
        assert!(Check::ALL.iter().all(|check| check.holds()));
        assert_eq!(Check::PrivateAddress.limit(3), 3);
    }
}
