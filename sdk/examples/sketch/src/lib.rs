//! `sketch`: hills under a low sun, drawn from the prompt and the seed, without any upstream.
//!
//! The same prompt, seed and size always give the same bytes. It is the worked example of
//! [`pinhole_sdk`], and the engine of a server that nobody has configured yet.

use std::array::from_fn;

use pinhole_sdk::{
    Abilities, Description, Engine, Error, ErrorKind, Image, Job, Model, Output, Picture, Progress,
    Settings, Size, images, job,
};

/// Sharp edges are spread over this many pixels.
const SOFT: f32 = 1.5;
const HILLS: usize = 6;

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
        let size = job.size.unwrap_or(Size {
            width: 512,
            height: 512,
        });
        let first = job.seed.unwrap_or_else(job::random);
        let seeds: Vec<u64> = (0..job.count)
            .map(|n| first.wrapping_add(n.into()))
            .collect();
        let mut pictures = Vec::new();
        for (index, seed) in seeds.iter().enumerate() {
            let done = |part: f32| (index as f32 + part) / seeds.len() as f32;
            let png = draw(&job.prompt, *seed, size, |part| report(done(part)))?;
            let image = images::from_bytes(&png).map_err(Error::protocol)?;
            pictures.push(Picture::Held(image));
        }
        let details = serde_json::json!({ "seeds": seeds }).to_string();
        Ok(Output {
            pictures,
            revised_prompt: None,
            details,
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

/// The picture as PNG bytes. `report` hears the finished part, from 0 to 1, a few times.
fn draw(prompt: &str, seed: u64, size: Size, report: impl Fn(f32)) -> Result<Vec<u8>, Error> {
    let mut random = Random::new(prompt, seed);
    let (width, height) = (size.width as f32, size.height as f32);
    let hue = random.next();
    let sky = [colour(hue, 0.55, 0.35), colour(hue + 0.12, 0.65, 0.95)];
    let (land, glow) = (colour(hue + 0.45, 0.6, 0.13), colour(hue + 0.10, 0.25, 1.0));
    let sun = (
        width * (0.2 + 0.6 * random.next()),
        height * (0.25 + 0.2 * random.next()),
    );
    let radius = width.min(height) * (0.06 + 0.06 * random.next());
    let hills: [Vec<f32>; HILLS] =
        from_fn(|depth| ridge(&mut random, depth, size.width, width / height));
    let colours: [_; HILLS] = from_fn(|depth| {
        let near = (depth as f32 + 1.0) / HILLS as f32;
        mix(sky[1], land, near)
    });
    // Of each column, where each hill begins, and where the highest does.
    let columns: Vec<([f32; HILLS], f32)> = (0..size.width as usize)
        .map(|column| {
            let top = |hill: &Vec<f32>| hill.get(column).map_or(height, |part| part * height);
            let tops = hills.each_ref().map(top);
            (tops, tops.into_iter().fold(height, f32::min))
        })
        .collect();

    let mut pixels = vec![0; size.width as usize * size.height as usize * 3];
    for (row, y) in pixels.chunks_exact_mut((columns.len() * 3).max(1)).zip(0..) {
        if y % (size.height / 8).max(1) == 0 {
            report(y as f32 / height);
        }
        let y = y as f32;
        let air = mix(sky[0], sky[1], (y / height * 1.4).min(1.0));
        let behind = |x: f32| {
            let (across, down) = (x - sun.0, y - sun.1);
            let away = (across * across + down * down).sqrt() - radius;
            let lit = mix(air, glow, 0.55 * fade(away / (radius * 2.5)));
            match away < SOFT / 2.0 {
                true => mix(lit, glow, (0.5 - away / SOFT).min(1.0)),
                false => lit,
            }
        };
        let places = row.chunks_exact_mut(3).zip(&columns).zip(0..);
        for ((place, (tops, highest)), x) in places {
            let pixel = match y > highest - SOFT / 2.0 {
                true => covered(y, tops, &colours, || behind(x as f32)),
                false => behind(x as f32),
            };
            place.copy_from_slice(&pixel.map(|channel| (channel * 255.0 + 0.5) as u8));
        }
    }
    encode(size, &pixels).map_err(|error| Error::protocol(format!("cannot write a PNG: {error}")))
}

/// What the hills leave of what is behind them. Far hills come first, and what lies behind one that
/// covers the whole pixel is not drawn.
fn covered(
    y: f32,
    tops: &[f32; HILLS],
    colours: &[[f32; 3]; HILLS],
    behind: impl FnOnce() -> [f32; 3],
) -> [f32; 3] {
    let hills = tops.iter().zip(colours);
    let mut near = hills.clone().rev();
    let whole = near.find(|(top, _)| y - **top >= SOFT / 2.0);
    let (mut pixel, in_front) = match whole {
        Some((_, colour)) => (*colour, near.len() + 1),
        None => (behind(), 0),
    };
    for (top, colour) in hills.skip(in_front) {
        let cover = 0.5 + (y - top) / SOFT;
        if cover > 0.0 {
            pixel = mix(pixel, *colour, cover);
        }
    }
    pixel
}

/// From 1 down to 0, close to `exp(-distance)` and much cheaper.
fn fade(distance: f32) -> f32 {
    let distance = if distance > 0.0 { distance } else { 0.0 };
    let root = 1.0 / (1.0 + distance * 0.25);
    root * root * root * root
}

/// For each column, how far down the hill begins, as a part of the height. Far hills come first.
fn ridge(random: &mut Random, depth: usize, columns: u32, aspect: f32) -> Vec<f32> {
    let base = 0.48 + 0.46 * (depth as f32 / HILLS as f32);
    let waves: Vec<[f32; 3]> = (1..=5)
        .map(|octave| {
            let octave = octave as f32;
            let pace = aspect * octave * (1.0 + random.next()) * 2.2;
            [pace, random.next() * 6.3, 0.055 / octave]
        })
        .collect();
    (0..columns)
        .map(|column| {
            let x = column as f32 / columns as f32;
            let wave = |[pace, phase, size]: &[f32; 3]| (x * pace + phase).sin() * size;
            base + waves.iter().map(wave).sum::<f32>()
        })
        .collect()
}

/// From hue, saturation and value, each from 0 to 1; the hue goes round.
fn colour(hue: f32, saturation: f32, value: f32) -> [f32; 3] {
    [0.0, 2.0 / 3.0, 1.0 / 3.0].map(|offset| {
        let ramp = (((hue + offset).fract() * 6.0) - 3.0).abs() - 1.0;
        value * (1.0 - saturation + saturation * ramp.clamp(0.0, 1.0))
    })
}

fn mix(from: [f32; 3], to: [f32; 3], part: f32) -> [f32; 3] {
    let [red, green, blue] = from;
    let blend = |from: f32, to: f32| from + (to - from) * part;
    [blend(red, to[0]), blend(green, to[1]), blend(blue, to[2])]
}

fn encode(size: Size, pixels: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.width, size.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fastest);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(bytes)
}

/// Numbers that the prompt and the seed decide (FNV-1a, then SplitMix64).
struct Random(u64);

impl Random {
    fn new(prompt: &str, seed: u64) -> Self {
        let bytes = prompt.bytes().chain(seed.to_le_bytes());
        Self(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    /// From 0 to just below 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(prompt: &str, seed: u64, width: u32, height: u32) -> Vec<u8> {
        draw(prompt, seed, Size { width, height }, |_| ()).unwrap()
    }

    #[test]
    fn the_same_words_and_seed_give_the_same_picture() {
        assert_eq!(picture("a fox", 1, 64, 48), picture("a fox", 1, 64, 48));
        assert_ne!(picture("a fox", 1, 64, 48), picture("a fox", 2, 64, 48));
        assert_ne!(picture("a fox", 1, 64, 48), picture("a hen", 1, 64, 48));
    }

    #[test]
    fn any_size_is_drawn() {
        for (width, height) in [(1, 1), (1, 300), (300, 1), (37, 53)] {
            let bytes = picture("x", 7, width, height);
            let reader = png::Decoder::new(std::io::Cursor::new(bytes))
                .read_info()
                .unwrap();
            assert_eq!((reader.info().width, reader.info().height), (width, height));
        }
    }
}
