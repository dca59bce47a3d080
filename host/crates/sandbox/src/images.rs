//! The WIT interface `images`.

use bytes::Bytes;
use wasmtime::component::Resource;

use crate::contract::Size;
use crate::contract::pinhole::engine::images::{Host, HostImage};
use crate::resources::ImageResource;
use crate::state::State;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;
use pinhole_images::{DecodeFor, Image};

impl State {
    /// Gives the guest an image, with the metadata that the settings retain.
    pub(crate) fn push_image(&mut self, image: Image) -> wasmtime::Result<Resource<ImageResource>> {
        let image = image.with_metadata(self.limits.metadata, |bytes| {
            self.redactor.contains_secret(bytes, Guard::MetadataSecret)
        });
        let reservation = self.memory.reserve(image.bytes().len())?;
        Ok(self.table.push(ImageResource { image, reservation })?)
    }

    /// Parses an image within the limits. Records one that is refused; the error is the reason.
    pub(crate) fn parse_image(&self, bytes: Bytes) -> Result<Image, String> {
        Image::from_bytes(bytes, self.limits.image).map_err(|refusal| {
            let reason = refusal.reason.clone();
            let engine = &self.engine;
            let refusal = refusal.map_reason(|text| format!("an image of engine {engine}: {text}"));
            self.record(RefusalKind::Picture, &refusal);
            reason
        })
    }
}

impl Host for State {
    async fn from_bytes(
        &mut self,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<Resource<ImageResource>, String>> {
        self.budget.charge()?;
        match self.parse_image(bytes.into()) {
            Ok(image) => Ok(Ok(self.push_image(image)?)),
            Err(reason) => Ok(Err(reason)),
        }
    }
}

impl HostImage for State {
    async fn media_type(&mut self, image: Resource<ImageResource>) -> wasmtime::Result<String> {
        self.budget.charge()?;
        Ok(self.table.get(&image)?.image.media_type().to_owned())
    }

    async fn size(&mut self, image: Resource<ImageResource>) -> wasmtime::Result<Size> {
        self.budget.charge()?;
        let (width, height) = self.table.get(&image)?.image.size();
        Ok(Size { width, height })
    }

    async fn length(&mut self, image: Resource<ImageResource>) -> wasmtime::Result<u64> {
        self.budget.charge()?;
        Ok(self.table.get(&image)?.image.bytes().len() as u64)
    }

    async fn read(
        &mut self,
        image: Resource<ImageResource>,
        offset: u64,
        length: u32,
    ) -> wasmtime::Result<Vec<u8>> {
        self.budget.charge()?;
        let bytes = self.table.get(&image)?.image.bytes();
        let part = self
            .redactor
            .redact_range(bytes, offset, length, Guard::SecretPicture);
        self.context.usage.count_entered(part.len());
        Ok(part.into_owned())
    }

    async fn white_mask(
        &mut self,
        image: Resource<ImageResource>,
    ) -> wasmtime::Result<Result<Resource<ImageResource>, String>> {
        self.budget.charge()?;
        let (image, limits) = (self.table.get(&image)?.image.clone(), self.limits.image);
        let bytes = image.decoding_bytes();
        let meter = self.budget.meter.clone();
        let decode = move || meter.measure(|| image.to_white_mask(limits));
        let user = self.context.user.as_deref();
        let permit = match self.decoder.acquire(DecodeFor::Engine(user)).await {
            Ok(permit) => permit,
            Err(full) => return Ok(Err(full.to_string())),
        };
        match permit.run(bytes, decode).await {
            Ok(mask) => Ok(Ok(self.push_image(mask)?)),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    async fn drop(&mut self, image: Resource<ImageResource>) -> wasmtime::Result<()> {
        self.table.delete(image)?;
        Ok(())
    }
}
