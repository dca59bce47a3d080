//! Hills under a low sun, as RGB pixels.

use std::array::from_fn;

use pinhole_sdk::Size;

/// Red, green and blue, each from 0 to 1.
type Color = [f32; 3];

/// Width in pixels over which an edge fades.
const EDGE_WIDTH: f32 = 1.5;
const HILLS: usize = 6;

/// A scene that the prompt and the seed determine.
pub(crate) struct Landscape {
    size: Size,
    sky_top: Color,
    sky_bottom: Color,
    sun: Sun,
    /// Far hills come first.
    hill_colors: [Color; HILLS],
    columns: Vec<Column>,
}

struct Sun {
    x: f32,
    y: f32,
    radius: f32,
    color: Color,
}

/// Where the hills start in one pixel column, in pixels from the top.
struct Column {
    tops: [f32; HILLS],
    highest: f32,
}

impl Landscape {
    pub(crate) fn new(prompt: &str, seed: u64, size: Size) -> Self {
        let mut random = Random::new(prompt, seed);
        let (width, height) = (size.width as f32, size.height as f32);
        let hue = random.next();
        let sky_bottom = hsv(hue + 0.12, 0.65, 0.95);
        let land = hsv(hue + 0.45, 0.6, 0.13);
        let sun = Sun {
            x: width * (0.2 + 0.6 * random.next()),
            y: height * (0.25 + 0.2 * random.next()),
            radius: width.min(height) * (0.06 + 0.06 * random.next()),
            color: hsv(hue + 0.10, 0.25, 1.0),
        };
        let ridges: [Vec<f32>; HILLS] =
            from_fn(|depth| ridge(&mut random, depth, size.width, width / height));
        let column = |index: usize| {
            let top = |ridge: &Vec<f32>| ridge.get(index).map_or(height, |part| part * height);
            let tops = ridges.each_ref().map(top);
            let highest = tops.into_iter().fold(height, f32::min);
            Column { tops, highest }
        };
        Self {
            size,
            sky_top: hsv(hue, 0.55, 0.35),
            sky_bottom,
            sun,
            hill_colors: from_fn(|depth| {
                mix(sky_bottom, land, (depth as f32 + 1.0) / HILLS as f32)
            }),
            columns: (0..size.width as usize).map(column).collect(),
        }
    }

    /// Renders rows of RGB bytes. Calls `report` a few times with the finished fraction.
    pub(crate) fn render(&self, report: impl Fn(f32)) -> Vec<u8> {
        let height = self.size.height as f32;
        let row_bytes = (self.columns.len() * 3).max(1);
        let mut pixels = vec![0; self.size.width as usize * self.size.height as usize * 3];
        for (row, y) in pixels.chunks_exact_mut(row_bytes).zip(0..) {
            if y % (self.size.height / 8).max(1) == 0 {
                report(y as f32 / height);
            }
            self.render_row(row, y as f32);
        }
        pixels
    }

    fn render_row(&self, row: &mut [u8], y: f32) {
        let height = self.size.height as f32;
        let air = mix(self.sky_top, self.sky_bottom, (y / height * 1.4).min(1.0));
        for ((bytes, column), x) in row.chunks_exact_mut(3).zip(&self.columns).zip(0..) {
            let sky = || self.sun.shine_on(air, x as f32, y);
            let color = if y > column.highest - EDGE_WIDTH / 2.0 {
                self.cover_with_hills(column, y, sky)
            } else {
                sky()
            };
            bytes.copy_from_slice(&color.map(|channel| (channel * 255.0 + 0.5) as u8));
        }
    }

    /// Blends the hills over the sky. Skips what is behind a hill that covers the whole pixel.
    fn cover_with_hills(&self, column: &Column, y: f32, sky: impl FnOnce() -> Color) -> Color {
        let hills = column.tops.iter().zip(&self.hill_colors);
        let mut nearest_first = hills.clone().rev();
        let opaque = nearest_first.find(|(top, _)| y - **top >= EDGE_WIDTH / 2.0);
        let (mut pixel, first_in_front) = match opaque {
            Some((_, color)) => (*color, nearest_first.len() + 1),
            None => (sky(), 0),
        };
        for (top, color) in hills.skip(first_in_front) {
            let cover = 0.5 + (y - top) / EDGE_WIDTH;
            if cover > 0.0 {
                pixel = mix(pixel, *color, cover);
            }
        }
        pixel
    }
}

impl Sun {
    /// The color of the sky at a pixel: `air` with the sun and its glow.
    fn shine_on(&self, air: Color, x: f32, y: f32) -> Color {
        let (dx, dy) = (x - self.x, y - self.y);
        let distance = (dx * dx + dy * dy).sqrt() - self.radius;
        let lit = mix(
            air,
            self.color,
            0.55 * fade_out(distance / (self.radius * 2.5)),
        );
        if distance < EDGE_WIDTH / 2.0 {
            mix(lit, self.color, (0.5 - distance / EDGE_WIDTH).min(1.0))
        } else {
            lit
        }
    }
}

/// Falls from 1 to 0. Close to `exp(-distance)`, and much cheaper.
fn fade_out(distance: f32) -> f32 {
    let positive = if distance > 0.0 { distance } else { 0.0 };
    let root = 1.0 / (1.0 + positive * 0.25);
    root * root * root * root
}

/// Where a hill starts in each column, as a fraction of the height.
fn ridge(random: &mut Random, depth: usize, columns: u32, aspect: f32) -> Vec<f32> {
    let base = 0.48 + 0.46 * (depth as f32 / HILLS as f32);
    let waves: Vec<[f32; 3]> = (1..=5)
        .map(|number| {
            let octave = number as f32;
            let frequency = aspect * octave * (1.0 + random.next()) * 2.2;
            [frequency, random.next() * 6.3, 0.055 / octave]
        })
        .collect();
    (0..columns)
        .map(|column| {
            let x = column as f32 / columns as f32;
            let wave = |[frequency, phase, amplitude]: &[f32; 3]| {
                (x * frequency + phase).sin() * amplitude
            };
            base + waves.iter().map(wave).sum::<f32>()
        })
        .collect()
}

/// Converts hue, saturation and value, each from 0 to 1. The hue wraps around.
fn hsv(hue: f32, saturation: f32, value: f32) -> Color {
    [0.0, 2.0 / 3.0, 1.0 / 3.0].map(|offset| {
        let ramp = (((hue + offset).fract() * 6.0) - 3.0).abs() - 1.0;
        value * (1.0 - saturation + saturation * ramp.clamp(0.0, 1.0))
    })
}

fn mix(from: Color, to: Color, part: f32) -> Color {
    let [red, green, blue] = from;
    let blend = |start: f32, end: f32| start + (end - start) * part;
    [blend(red, to[0]), blend(green, to[1]), blend(blue, to[2])]
}

/// Random numbers seeded by the prompt and the seed (FNV-1a, then SplitMix64).
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
