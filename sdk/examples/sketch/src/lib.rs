//! `sketch`: draws hills under a low sun from the prompt and the seed, without an upstream.
//!
//! The same prompt, seed, size and format always give the same bytes. It takes any model's name, because
//! clients send that of the service for which they were written. It is the example for
//! [`pinhole_sdk`], and the engine of a server that is not configured yet.

mod encoding;
mod landscape;

use encoding::Encoding;
use landscape::Landscape;
use pinhole_sdk::{
    Abilities, Description, Engine, Error, Image, Job, MadeImage, Model, Output, Parameter,
    Progress, Settings, Size, images, job,
};

const DEFAULT_SIZE: Size = Size::new(512, 512);

struct Sketch;

impl Engine for Sketch {
    fn describe() -> Description {
        Description {
            name: "sketch".into(),
            title: "Sketch".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities {
                progress: true,
                seed: true,
                max_count: 10,
                ..Abilities::default()
            },
            parameters: vec![
                Parameter::choice("output_format", &["png", "jpeg", "webp"])
                    .with_title("Format", "The format of the image.")
                    .with_default("\"png\""),
                Parameter::integer("output_compression", 0, 100)
                    .with_title("Quality", "The quality of a jpeg.")
                    .with_unit("%"),
                Parameter::choice("background", &["auto", "opaque"])
                    .with_title("Background", "Always opaque."),
            ],
            ..Description::default()
        }
    }

    fn generate(job: Job, _settings: Settings) -> Result<Output, Error> {
        let encoding = Encoding::from_job(&job)?;
        let size = job.size.unwrap_or(DEFAULT_SIZE);
        // Of 53 bits: many programs lose digits of larger JSON numbers.
        let first = job.seed.unwrap_or_else(|| job::random() >> 11);
        let seeds: Vec<u64> = (0..job.count)
            .map(|n| first.wrapping_add(n.into()))
            .collect();
        let mut made: Vec<MadeImage> = Vec::new();
        for (index, seed) in seeds.iter().enumerate() {
            let report_part = |part: f32| report((index as f32 + part) / seeds.len() as f32);
            let pixels = Landscape::new(&job.prompt, *seed, size).render(report_part);
            let bytes = encoding.encode(size, &pixels)?;
            let image = images::from_bytes(&bytes).map_err(Error::protocol)?;
            made.push(MadeImage::from(image).with_seed(*seed));
        }
        Ok(Output::new(made))
    }

    fn models(_settings: Settings) -> Result<Vec<Model>, Error> {
        Ok(vec![Model::new("sketch", "Sketch")])
    }
}

pinhole_sdk::export!(Sketch);

fn report(fraction: f32) {
    let progress = Progress {
        fraction: Some(fraction),
        queue_position: None,
        note: None,
    };
    job::report(&progress, None::<&Image>);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw_png(prompt: &str, seed: u64, width: u32, height: u32) -> Vec<u8> {
        let size = Size::new(width, height);
        let pixels = Landscape::new(prompt, seed, size).render(|_| ());
        Encoding::Png.encode(size, &pixels).unwrap()
    }

    #[test]
    fn draw_is_deterministic_in_prompt_and_seed() {
        assert_eq!(draw_png("a fox", 1, 64, 48), draw_png("a fox", 1, 64, 48));
        assert_ne!(draw_png("a fox", 1, 64, 48), draw_png("a fox", 2, 64, 48));
        assert_ne!(draw_png("a fox", 1, 64, 48), draw_png("a hen", 1, 64, 48));
    }

    #[test]
    fn draw_supports_any_size() {
        for (width, height) in [(1, 1), (1, 300), (300, 1), (37, 53)] {
            let bytes = draw_png("x", 7, width, height);
            let reader = png::Decoder::new(std::io::Cursor::new(bytes))
                .read_info()
                .unwrap();
            assert_eq!((reader.info().width, reader.info().height), (width, height));
        }
    }
}
