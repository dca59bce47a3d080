//! The WIT interface `images`.

use bytes::Bytes;
use wasmtime::component::Resource;

use super::bindings::Size;
use super::bindings::pinhole::engine::images::{Host, HostImage};
use super::call::State;
use super::limits::Held;
use crate::images::Image;

/// What stands behind a guest's image handle.
pub struct HeldImage {
    pub(super) image: Image,
    _held: Held,
}

impl State {
    /// Keeps an image for the guest.
    pub(super) fn hold(&mut self, image: Image) -> wasmtime::Result<Resource<HeldImage>> {
        let held = self.holding.take(image.bytes().len())?;
        Ok(self.table.push(HeldImage { image, _held: held })?)
    }
}

impl Host for State {
    async fn from_bytes(
        &mut self,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<Resource<HeldImage>, String>> {
        self.charge()?;
        match Image::from_bytes(Bytes::from(bytes), self.limits.image) {
            Ok(image) => Ok(Ok(self.hold(image)?)),
            Err(reason) => Ok(Err(reason)),
        }
    }
}

impl HostImage for State {
    async fn media_type(&mut self, image: Resource<HeldImage>) -> wasmtime::Result<String> {
        self.charge()?;
        Ok(self.table.get(&image)?.image.media_type().to_owned())
    }

    async fn size(&mut self, image: Resource<HeldImage>) -> wasmtime::Result<Size> {
        self.charge()?;
        let (width, height) = self.table.get(&image)?.image.size();
        Ok(Size { width, height })
    }

    async fn length(&mut self, image: Resource<HeldImage>) -> wasmtime::Result<u64> {
        self.charge()?;
        Ok(self.table.get(&image)?.image.bytes().len() as u64)
    }

    async fn read(
        &mut self,
        image: Resource<HeldImage>,
        offset: u64,
        length: u32,
    ) -> wasmtime::Result<Vec<u8>> {
        self.charge()?;
        let part = part(self.table.get(&image)?.image.bytes(), offset, length);
        self.control.usage.count_entered(part.len());
        Ok(part)
    }

    async fn white_mask(
        &mut self,
        image: Resource<HeldImage>,
    ) -> wasmtime::Result<Result<Resource<HeldImage>, String>> {
        self.charge()?;
        let (image, limits) = (self.table.get(&image)?.image.clone(), self.limits.image);
        let white = self
            .io
            .spawn_blocking(move || image.white_mask(limits))
            .await;
        match white.unwrap_or_else(|_| Err("the mask cannot be decoded".to_owned())) {
            Ok(white) => Ok(Ok(self.hold(white)?)),
            Err(reason) => Ok(Err(reason)),
        }
    }

    async fn drop(&mut self, image: Resource<HeldImage>) -> wasmtime::Result<()> {
        self.table.delete(image)?;
        Ok(())
    }
}

/// A copy of the part that exists.
pub(super) fn part(bytes: &[u8], offset: u64, length: u32) -> Vec<u8> {
    let start = usize::try_from(offset)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    let end = start.saturating_add(length as usize).min(bytes.len());
    bytes.get(start..end).unwrap_or_default().to_vec()
}
