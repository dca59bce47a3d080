//! Makes or reads what a case names: pictures, replies and frames.

use super::super::value::{Files, Wrong};
use super::super::{recording, test_image};
use super::{Binary, Case, Exchange, Picture, Pictures, Script, Source, Step};

impl Case {
    /// Loads the whole case.
    pub(super) fn load(&mut self, files: &Files) -> Result<(), Wrong> {
        if let Some(edit) = &mut self.edit {
            for (number, source) in edit.sources.iter_mut().enumerate() {
                source.load(files, &format!("/edit/sources/{number}"))?;
            }
            if let Some(mask) = &mut edit.mask {
                mask.load(files, "/edit/mask")?;
            }
        }
        if let Some(Pictures::List(pictures)) = &mut self.outcome.pictures {
            for (number, given) in pictures.iter_mut().enumerate() {
                if let Some(picture) = &mut given.picture {
                    picture.load(files, &format!("/outcome/pictures/{number}/picture"))?;
                }
            }
        }
        let Script::Exchanges(exchanges) = &mut self.upstream else {
            return Ok(());
        };
        for (number, exchange) in exchanges.iter_mut().enumerate() {
            exchange.load(files, &format!("/upstream/{number}"))?;
        }
        Ok(())
    }
}

impl Exchange {
    fn load(&mut self, files: &Files, place: &str) -> Result<(), Wrong> {
        for (number, part) in self.request.form.iter_mut().flatten().enumerate() {
            for picture in [&mut part.picture, &mut part.same_pixels]
                .into_iter()
                .flatten()
            {
                picture.load(files, &format!("{place}/request/form/{number}"))?;
            }
        }
        if let Some(reply) = &mut self.reply {
            let place = format!("{place}/reply");
            if let Some(picture) = &mut reply.picture {
                picture.load(files, &format!("{place}/picture"))?;
            }
            if let Some(recorded) = reply.recorded.take() {
                let filled = recording::fill(reply, &recorded, files);
                filled.map_err(|why| Wrong {
                    place: format!("{place}/recorded"),
                    why,
                })?;
            }
        }
        let Some(steps) = self.socket.take() else {
            return Ok(());
        };
        let mut all = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            let place = format!("{place}/socket/{number}");
            match step {
                Step::Recorded(frames) => {
                    let frames = recording::frames(&frames, files);
                    all.extend(frames.map_err(|why| Wrong { place, why })?);
                }
                Step::SendBinary(mut parts) => {
                    for part in &mut parts {
                        if let Binary::Picture(picture) = part {
                            picture.load(files, &place)?;
                        }
                    }
                    all.push(Step::SendBinary(parts));
                }
                step => all.push(step),
            }
        }
        self.socket = Some(all);
        Ok(())
    }
}

impl Picture {
    fn load(&mut self, files: &Files, place: &str) -> Result<(), Wrong> {
        let bytes = match &self.source {
            Source::Words(words) => test_image::make(words),
            Source::File(file) => files.read(file),
        };
        self.bytes = bytes.map_err(|why| Wrong {
            place: place.to_owned(),
            why,
        })?;
        Ok(())
    }
}
