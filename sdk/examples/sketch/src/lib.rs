//! `sketch`: draws hills under a low sun from the prompt and the seed, without an upstream.
//!
//! The same prompt, seed and size always give the same bytes. It is the example for
//! [`pinhole_sdk`], and the engine of a server that is not configured yet.

mod landscape;

use landscape::Landscape;
use pinhole_sdk::{
    Abilities, Description, Engine, Error, ErrorKind, Image, Job, Model, Output, Progress,
    Settings, Size, images, job,
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
            settings: Vec::new(),
            upstreams: Vec::new(),
        }
    }

    fn generate(job: Job, _settings: Settings) -> Result<Output, Error> {
        if let Some(model) = job.model.filter(|model| model != "sketch") {
            let message = format!("sketch has no model {model:?}: leave the model out");
            return Err(Error::new(ErrorKind::NotFound, message).with_field("model"));
        }
        let size = job.size.unwrap_or(DEFAULT_SIZE);
        let first = job.seed.unwrap_or_else(job::random);
        let seeds: Vec<u64> = (0..job.count)
            .map(|n| first.wrapping_add(n.into()))
            .collect();
        let mut made = Vec::new();
        for (index, seed) in seeds.iter().enumerate() {
            let report_part = |part: f32| report((index as f32 + part) / seeds.len() as f32);
            let png = draw(&job.prompt, *seed, size, report_part)?;
            let image = images::from_bytes(&png).map_err(Error::protocol)?;
            made.push(image);
        }
        let details = serde_json::json!({ "seeds": seeds }).to_string();
        Ok(Output {
            images: made,
            revised_prompt: None,
            details,
            warnings: Vec::new(),
        })
    }

    fn models(_settings: Settings) -> Result<Vec<Model>, Error> {
        Ok(vec![Model {
            id: "sketch".into(),
            name: "Sketch".into(),
        }])
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

/// Draws a PNG. Calls `report` a few times with the finished fraction.
fn draw(prompt: &str, seed: u64, size: Size, report: impl Fn(f32)) -> Result<Vec<u8>, Error> {
    let pixels = Landscape::new(prompt, seed, size).render(report);
    encode_png(size, &pixels)
        .map_err(|error| Error::protocol(format!("cannot encode the PNG: {error}")))
}

fn encode_png(size: Size, pixels: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.width, size.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fastest);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw_png(prompt: &str, seed: u64, width: u32, height: u32) -> Vec<u8> {
        draw(prompt, seed, Size::new(width, height), |_| ()).unwrap()
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
