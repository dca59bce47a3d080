//! Encodes or reads the images, replies and frames that a case names.

use super::recording;
use super::{
    BinaryPart, Case, CaseImage, Exchange, ExpectedImages, ImageOrigin, InvalidCase, Script,
    SocketStep,
};
use crate::case_files::CaseFiles;
use crate::test_image;

impl Case {
    pub(super) fn load(&mut self, files: &CaseFiles) -> Result<(), InvalidCase> {
        if let Some(edit) = &mut self.edit {
            for (index, source) in edit.sources.iter_mut().enumerate() {
                source.load(files, &format!("/edit/sources/{index}"))?;
            }
            if let Some(mask) = &mut edit.mask {
                mask.load(files, "/edit/mask")?;
            }
        }
        if let Some(ExpectedImages::List(images)) = &mut self.outcome.images {
            for (index, expected) in images.iter_mut().enumerate() {
                if let Some(image) = &mut expected.image {
                    image.load(files, &format!("/outcome/pictures/{index}/picture"))?;
                }
            }
        }
        if let Script::Exchanges(exchanges) = &mut self.script {
            for (index, exchange) in exchanges.iter_mut().enumerate() {
                exchange.load(files, &format!("/upstream/{index}"))?;
            }
        }
        Ok(())
    }
}

impl Exchange {
    fn load(&mut self, files: &CaseFiles, pointer: &str) -> Result<(), InvalidCase> {
        for (index, field) in self.request.form.iter_mut().flatten().enumerate() {
            let images = [&mut field.image, &mut field.same_pixels];
            for image in images.into_iter().flatten() {
                image.load(files, &format!("{pointer}/request/form/{index}"))?;
            }
        }
        if let Some(reply) = &mut self.reply {
            if let Some(image) = &mut reply.image {
                image.load(files, &format!("{pointer}/reply/picture"))?;
            }
            if let Some(recorded) = reply.recorded.take() {
                recording::apply(&recorded, reply, files).map_err(|reason| {
                    InvalidCase::at(&format!("{pointer}/reply/recorded"), reason)
                })?;
            }
        }
        if let Some(steps) = self.socket.take() {
            let mut loaded = Vec::new();
            for (index, step) in steps.into_iter().enumerate() {
                let step_pointer = format!("{pointer}/socket/{index}");
                loaded.extend(load_step(step, files, &step_pointer)?);
            }
            self.socket = Some(loaded);
        }
        Ok(())
    }
}

/// The step with its images; a recording becomes its frames.
fn load_step(
    step: SocketStep,
    files: &CaseFiles,
    pointer: &str,
) -> Result<Vec<SocketStep>, InvalidCase> {
    match step {
        SocketStep::Recorded(recorded) => recording::read_frames(&recorded, files)
            .map_err(|reason| InvalidCase::at(pointer, reason)),
        SocketStep::SendBinary(mut parts) => {
            for part in &mut parts {
                if let BinaryPart::Image(image) = part {
                    image.load(files, pointer)?;
                }
            }
            Ok(vec![SocketStep::SendBinary(parts)])
        }
        other => Ok(vec![other]),
    }
}

impl CaseImage {
    fn load(&mut self, files: &CaseFiles, pointer: &str) -> Result<(), InvalidCase> {
        let bytes = match &self.origin {
            ImageOrigin::Spec(spec) => test_image::encode(spec),
            ImageOrigin::File(file) => files.read_bytes(file),
        };
        self.bytes = bytes.map_err(|reason| InvalidCase::at(pointer, reason))?;
        Ok(())
    }
}
