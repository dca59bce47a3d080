//! The WIT interface `images`.

use bytes::Bytes;
use wasmtime::component::Resource;

use super::contract::Size;
use super::contract::pinhole::engine::images::{Host, HostImage};
use super::call::State;
use super::limits::Held;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;
use pinhole_images::{DecodeFor, Image};

/// What stands behind a guest's image handle.
pub struct HeldImage {
    pub(super) image: Image,
    _held: Held,
}

impl State {
    /// Keeps an image for the guest, with no more metadata than the settings let pass.
    pub(super) fn hold(&mut self, image: Image) -> wasmtime::Result<Resource<HeldImage>> {
        let image = image.with_metadata(self.limits.metadata, |bytes| self.echo.finds(bytes));
        let held = self.holding.take(image.bytes().len())?;
        Ok(self.table.push(HeldImage { image, _held: held })?)
    }

    /// Tells the operator of a picture that is none, or not within its limits.
    pub(super) fn refuse_picture(&mut self, reason: &str) {
        let what = format!("a picture of engine {}: {reason}", self.engine);
        self.refuse(RefusalKind::Picture, &what);
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
            Err(reason) => {
                self.refuse_picture(&reason);
                Ok(Err(reason))
            }
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
        let bytes = self.table.get(&image)?.image.bytes();
        let part = self.echo.part(bytes, offset, length, Guard::SecretPicture);
        self.control.usage.count_entered(part.len());
        Ok(part.into_owned())
    }

    async fn white_mask(
        &mut self,
        image: Resource<HeldImage>,
    ) -> wasmtime::Result<Result<Resource<HeldImage>, String>> {
        self.charge()?;
        let (image, limits) = (self.table.get(&image)?.image.clone(), self.limits.image);
        let computed = self.computed.clone();
        let work = move || computed.count(|| image.white_mask(limits));
        match self.decoder.run(DecodeFor::Engine, &self.long, work).await {
            Ok(white) => Ok(Ok(self.hold(white)?)),
            Err(reason) => Ok(Err(reason)),
        }
    }

    async fn drop(&mut self, image: Resource<HeldImage>) -> wasmtime::Result<()> {
        self.table.delete(image)?;
        Ok(())
    }
}
