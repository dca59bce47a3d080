//! One instance of a component, for one call of one export.

use wasmtime::Store;
use wasmtime::component::{Instance as WasmInstance, InstancePre, Resource};

use crate::contract::exports::pinhole::engine::{engine, explain};
use crate::contract::{
    Description, EngineError, Explanation, Job, Model, PACKAGE, SettingValue, VERSION, Verification,
};
use crate::error::Error;
use crate::output::{
    JobOutput, sanitize_error, sanitize_explanation, sanitize_models, sanitize_verification,
};
use crate::resources::ImageResource;
use crate::state::State;
use pinhole_images::Image;

/// The images of an edit.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Never empty.
    pub sources: Vec<Image>,
    /// Transparent in the areas of the first source that the engine changes.
    pub mask: Option<Image>,
}

/// A component that is compiled, linked and ready to be instantiated.
pub struct Pre {
    component: InstancePre<State>,
    engine: engine::GuestIndices,
    /// `None` if the component does not export the interface `explain`.
    explain: Option<explain::GuestIndices>,
}

impl Pre {
    /// Fails if the component does not export the functions of the contract.
    pub fn new(component: InstancePre<State>) -> wasmtime::Result<Self> {
        let engine = engine::GuestIndices::new(&component)?;
        let name = format!("{PACKAGE}/explain@{VERSION}");
        let exported = component.component().get_export_index(None, &name);
        let explain = exported
            .map(|_| explain::GuestIndices::new(&component))
            .transpose()?;
        Ok(Self {
            component,
            engine,
            explain,
        })
    }

    pub(crate) fn explains_settings(&self) -> bool {
        self.explain.is_some()
    }
}

/// A fresh instance. Each export consumes it.
pub(crate) struct Instance {
    store: Store<State>,
    instance: WasmInstance,
    engine: engine::Guest,
    explain: Option<explain::GuestIndices>,
    settings: Vec<SettingValue>,
}

impl Instance {
    pub(crate) async fn new(
        pre: &Pre,
        mut state: Box<State>,
        settings: Vec<SettingValue>,
    ) -> Result<Self, Error> {
        state.start_memory().await?;
        let log = state.log.clone();
        let mut store = state.into_store(pre.component.engine());
        let instantiate = async {
            let instance = pre.component.instantiate_async(&mut store).await?;
            let engine = pre.engine.load(&mut store, &instance)?;
            Ok((instance, engine))
        };
        let (instance, engine) = instantiate
            .await
            .map_err(|error| Error::from_trap(&error, &log))?;
        Ok(Self {
            store,
            instance,
            engine,
            explain: pre.explain.clone(),
            settings,
        })
    }

    pub(crate) async fn describe(mut self) -> Result<Description, Error> {
        let described = self.engine.call_describe(&mut self.store).await;
        described.map_err(|error| Error::from_trap(&error, &self.store.data().log))
    }

    pub(crate) async fn generate(
        mut self,
        job: Job,
        max_images: usize,
    ) -> Result<JobOutput, Error> {
        let returned = self
            .engine
            .call_generate(&mut self.store, &job, &self.settings)
            .await;
        let output = self.returned_value(returned)?;
        JobOutput::from_guest(self.store.data_mut(), output, max_images)
    }

    pub(crate) async fn edit(
        mut self,
        job: Job,
        edit: Edit,
        max_images: usize,
    ) -> Result<JobOutput, Error> {
        let EditHandles { sources, mask } = EditHandles::new(self.store.data_mut(), edit)
            .map_err(|error| Error::from_trap(&error, &self.store.data().log))?;
        let returned = self
            .engine
            .call_edit(&mut self.store, &job, &sources, mask, &self.settings)
            .await;
        let output = self.returned_value(returned)?;
        JobOutput::from_guest(self.store.data_mut(), output, max_images)
    }

    pub(crate) async fn models(mut self) -> Result<Vec<Model>, Error> {
        let returned = self
            .engine
            .call_models(&mut self.store, &self.settings)
            .await;
        let models = self.returned_value(returned)?;
        sanitize_models(models, &self.store.data().redactor)
    }

    pub(crate) async fn verify(mut self) -> Result<Verification, Error> {
        let returned = self
            .engine
            .call_verify(&mut self.store, &self.settings)
            .await;
        let verification = self.returned_value(returned)?;
        Ok(sanitize_verification(
            verification,
            &self.store.data().redactor,
        ))
    }

    /// The component exports the interface `explain`.
    pub(crate) async fn explain(mut self) -> Result<Explanation, Error> {
        let Some(explain) = &self.explain else {
            return Ok(Explanation::default());
        };
        let returned = match explain.load(&mut self.store, &self.instance) {
            Ok(guest) => guest.call_explain(&mut self.store, &self.settings).await,
            Err(error) => Err(error),
        };
        let explanation = self.returned_value(returned)?;
        Ok(sanitize_explanation(
            &explanation,
            &self.store.data().redactor,
        ))
    }

    /// The value that an export returned, or the error that it returned, or why it did not return.
    fn returned_value<T>(
        &mut self,
        returned: wasmtime::Result<Result<T, EngineError>>,
    ) -> Result<T, Error> {
        let state = self.store.data_mut();
        match returned {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Error::Engine {
                error: sanitize_error(error, &state.redactor),
                failure: state.network.last_failure.take().map(Box::new),
            }),
            Err(error) => Err(Error::from_trap(&error, &state.log)),
        }
    }
}

/// The guest's handles of the images of an edit.
struct EditHandles {
    sources: Vec<Resource<ImageResource>>,
    mask: Option<Resource<ImageResource>>,
}

impl EditHandles {
    fn new(state: &mut State, edit: Edit) -> wasmtime::Result<Self> {
        let sources = edit
            .sources
            .into_iter()
            .map(|image| state.push_image(image))
            .collect::<wasmtime::Result<_>>()?;
        let mask = edit.mask.map(|image| state.push_image(image)).transpose()?;
        Ok(Self { sources, mask })
    }
}
