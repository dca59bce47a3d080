//! The trait that an engine implements, and the macro that exports it.

use std::marker::PhantomData;

use crate::contract::exports::pinhole::engine::engine::Guest;
use crate::contract::exports::pinhole::engine::explain;
use crate::{
    Description, Error, ErrorKind, Explanation, Image, Job, Model, Output, SettingValue, Settings,
    Verification,
};

/// An image engine. The host runs each call in a new instance, so no state survives a call.
///
/// ```
/// use pinhole_sdk::{Description, Engine, Error, Job, Output, Request, Settings};
/// use serde_json::json;
///
/// struct Fox;
///
/// impl Engine for Fox {
///     fn describe() -> Description {
///         Description {
///             name: "fox".into(),
///             title: "Fox".into(),
///             version: "1.0.0".into(),
///             ..Description::default()
///         }
///     }
///
///     fn generate(job: Job, _settings: Settings) -> Result<Output, Error> {
///         let response = Request::post("api", "/images").json(&json!({"prompt": job.prompt}))?.send()?;
///         Ok(Output::new([response.success()?.image()?]))
///     }
/// }
///
/// assert_eq!(Fox::describe().name, "fox");
/// ```
pub trait Engine {
    /// Describes the engine. The host calls this once, when it admits the component; no permission
    /// is granted yet.
    fn describe() -> Description;

    /// Generates images from a prompt.
    fn generate(job: Job, settings: Settings) -> Result<Output, Error>;

    /// Edits images. `sources` is never empty; `mask` is transparent in the area that may change.
    fn edit(
        job: Job,
        sources: Vec<Image>,
        mask: Option<Image>,
        settings: Settings,
    ) -> Result<Output, Error> {
        let _ = (job, sources, mask, settings);
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("{} cannot edit images", Self::describe().title),
        ))
    }

    /// Lists the models that the upstream offers; empty if there is no choice.
    fn models(settings: Settings) -> Result<Vec<Model>, Error> {
        let _ = settings;
        Ok(Vec::new())
    }

    /// Checks the settings, then that the upstream responds and accepts the credentials.
    fn verify(settings: Settings) -> Result<Verification, Error> {
        let _ = settings;
        Ok(Verification::default())
    }

    /// Explains the settings: where the values of a job go in a document such as a workflow.
    fn explain(settings: Settings) -> Result<Explanation, Error> {
        let _ = settings;
        Ok(Explanation::default())
    }
}

/// Adapts an [`Engine`] to the generated contract; used by [`export!`](crate::export).
#[doc(hidden)]
#[derive(Debug)]
pub struct EngineExport<E>(PhantomData<E>);

impl<E: Engine> Guest for EngineExport<E> {
    fn describe() -> Description {
        install_panic_hook();
        E::describe()
    }

    fn generate(job: Job, settings: Vec<SettingValue>) -> Result<Output, Error> {
        install_panic_hook();
        E::generate(job, Settings::new(settings))
    }

    fn edit(
        job: Job,
        sources: Vec<Image>,
        mask: Option<Image>,
        settings: Vec<SettingValue>,
    ) -> Result<Output, Error> {
        install_panic_hook();
        E::edit(job, sources, mask, Settings::new(settings))
    }

    fn models(settings: Vec<SettingValue>) -> Result<Vec<Model>, Error> {
        install_panic_hook();
        E::models(Settings::new(settings))
    }

    fn verify(settings: Vec<SettingValue>) -> Result<Verification, Error> {
        install_panic_hook();
        E::verify(Settings::new(settings))
    }
}

impl<E: Engine> explain::Guest for EngineExport<E> {
    fn explain(settings: Vec<SettingValue>) -> Result<Explanation, Error> {
        install_panic_hook();
        E::explain(Settings::new(settings))
    }
}

/// Writes a panic's message to the host's log. Without this hook the host sees only a trap.
#[doc(hidden)]
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        crate::log::write(crate::log::Level::Error, &panic.to_string());
    }));
}

/// Exports an [`Engine`](crate::Engine) from the component. Call it once, at the crate's root.
///
/// On targets other than `wasm32` it only checks that the type implements `Engine`.
///
/// ```
/// use pinhole_sdk::{Description, Engine, Error, Job, Output, Settings};
///
/// struct Fox;
///
/// impl Engine for Fox {
///     fn describe() -> Description {
///         Description { name: "fox".into(), ..Description::default() }
///     }
///
///     fn generate(_job: Job, _settings: Settings) -> Result<Output, Error> {
///         Err(Error::protocol("the upstream returned no image"))
///     }
/// }
///
/// pinhole_sdk::export!(Fox);
/// ```
#[macro_export]
macro_rules! export {
    ($engine:ty) => {
        const _: fn() -> $crate::Description = <$engine as $crate::Engine>::describe;

        #[cfg(target_arch = "wasm32")]
        #[allow(
            unsafe_code,
            clippy::all,
            clippy::allow_attributes_without_reason,
            reason = "generated by wit-bindgen"
        )]
        const _: () = {
            type Exported = $crate::EngineExport<$engine>;
    $crate::contract::export_component!(Exported with_types_in $crate::contract);
        };
    };
}
