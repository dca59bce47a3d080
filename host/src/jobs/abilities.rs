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

#[cfg(test)]
mod tests {
    use pinhole_sandbox::contract::Abilities;
    use serde_json::json;

    use super::*;
    use crate::jobs::JobRequest;
    use crate::jobs::defaults::JobDefaults;

    fn engine() -> Description {
        Description {
            name: "draw".to_owned(),
            abilities: Abilities {
                edit: true,
                seed: true,
                steps: true,
                strength: true,
                max_count: 4,
                max_sources: 2,
                ..Abilities::default()
            },
            ..Description::default()
        }
    }

    /// A model that has fewer abilities than its engine, and claims one that the engine lacks.
    fn model() -> Model {
        Model {
            id: "small".to_owned(),
            name: "Small".to_owned(),
            abilities: Some(ModelAbilities {
                edit: false,
                mask: true,
                negative_prompt: false,
                seed: false,
                steps: true,
                strength: true,
                max_count: 9,
                max_sources: 0,
                sizes: vec![
                    Size {
                        width: 512,
                        height: 512,
                    },
                    Size {
                        width: 768,
                        height: 512,
                    },
                ],
                aspect_ratios: Vec::new(),
            }),
        }
    }

    #[test]
    fn model_has_no_more_abilities_than_its_engine() {
        let effective = EffectiveAbilities::new(&engine(), Some(&model())).abilities;
        assert!(!effective.edit && !effective.mask && !effective.seed && effective.steps);
        assert_eq!((effective.max_count, effective.max_sources), (4, 0));
        let own = EffectiveAbilities::new(&engine(), None).abilities;
        assert!(own.edit && own.seed && own.sizes.is_empty());
    }

    #[test]
    fn request_is_checked_against_the_model() {
        let refused = |change: fn(&mut JobRequest), is_edit: bool| {
            let mut request = JobRequest {
                prompt: "a fox".to_owned(),
                ..JobRequest::default()
            };
            change(&mut request);
            let abilities = EffectiveAbilities::new(&engine(), Some(&model()));
            let job = request.into_job(&JobDefaults::default(), &engine(), &abilities, is_edit);
            job.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(refused(|it| it.steps = Some(4), false), "");
        assert_eq!(
            refused(|it| it.size = Some("768x512".to_owned()), false),
            ""
        );
        assert_eq!(refused(|it| it.strength = Some(0.5), true), "");
        assert_eq!(
            refused(|it| it.seed = Some(7), false),
            "model small of engine draw does not support seed: leave it out"
        );
        assert_eq!(
            refused(|it| it.size = Some("1024x1024".to_owned()), false),
            "model small of engine draw makes no image of this size: use 512x512, 768x512"
        );
        assert_eq!(
            refused(|it| it.count = Some(5), false),
            "5 images were requested, but model small of engine draw generates 1 to 4"
        );
        for strength in [-0.1, 1.1, f32::NAN] {
            let request = JobRequest {
                prompt: "a fox".to_owned(),
                strength: Some(strength),
                ..JobRequest::default()
            };
            let abilities = EffectiveAbilities::new(&engine(), Some(&model()));
            let job = request.into_job(&JobDefaults::default(), &engine(), &abilities, true);
            assert!(job.is_err(), "{strength}");
        }
        assert_eq!(
            refused(|it| it.strength = Some(0.5), false),
            "strength is for edits: leave it out"
        );
        assert_eq!(
            refused(
                |it| it.parameters = json!({"x": 1}).as_object().unwrap().clone(),
                false
            ),
            "parameter x is unknown: engine draw has no parameters"
        );
    }
}
