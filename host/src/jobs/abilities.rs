//! What a job can use: the abilities of its engine, and those of its model if the engine lists them.

use pinhole_sandbox::contract::{Description, Model, ModelAbilities, Size};

/// The abilities for one job.
#[derive(Clone, Debug)]
pub(super) struct EffectiveAbilities {
    /// For messages: `engine draw`, or `model flux of engine draw`.
    pub(super) subject: String,
    pub(super) abilities: ModelAbilities,
}

impl EffectiveAbilities {
    /// A model has no more abilities than its engine.
    pub(super) fn new(engine: &Description, model: Option<&Model>) -> Self {
        let own = &engine.abilities;
        let name = &engine.name;
        let of_engine = ModelAbilities {
            edit: own.edit,
            mask: own.mask,
            negative_prompt: own.negative_prompt,
            seed: own.seed,
            steps: own.steps,
            strength: own.strength,
            max_count: own.max_count,
            max_sources: own.max_sources,
            sizes: Vec::new(),
            aspect_ratios: Vec::new(),
        };
        let listed = model.and_then(|it| Some((&it.id, it.abilities.as_ref()?)));
        let Some((id, listed)) = listed else {
            return Self {
                subject: format!("engine {name}"),
                abilities: of_engine,
            };
        };
        Self {
            subject: format!("model {id} of engine {name}"),
            abilities: ModelAbilities {
                edit: listed.edit && own.edit,
                mask: listed.mask && own.mask,
                negative_prompt: listed.negative_prompt && own.negative_prompt,
                seed: listed.seed && own.seed,
                steps: listed.steps && own.steps,
                strength: listed.strength && own.strength,
                max_count: listed.max_count.min(own.max_count),
                max_sources: listed.max_sources.min(own.max_sources),
                sizes: listed.sizes.clone(),
                aspect_ratios: listed.aspect_ratios.clone(),
            },
        }
    }

    /// The sizes that a job can have, as a text; `None` if it can have this one.
    pub(super) fn other_sizes(&self, size: Size) -> Option<String> {
        let sizes = &self.abilities.sizes;
        let is_listed = |it: &Size| (it.width, it.height) == (size.width, size.height);
        if sizes.is_empty() || sizes.iter().any(is_listed) {
            return None;
        }
        let listed = sizes.iter().map(|it| format!("{}x{}", it.width, it.height));
        Some(listed.collect::<Vec<_>>().join(", "))
    }
}
