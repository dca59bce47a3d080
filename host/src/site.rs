//! The site: what browsers find at `/`.
//!
//! The server's own pages come from a directory (`PINHOLE_UI_DIR`) or from the program (feature `ui`). An operator can
//! bring another web client (`PINHOLE_WEB_CLIENT`), which then has all paths that are no API's.

#[cfg(feature = "ui")]
mod embedded;
mod files;

use anyhow::Result;

use crate::config::{Config, PageChoice};

pub use files::{ContentEncoding, FileContent, SiteFile, SiteFiles, is_api_path};

/// What browsers find at `/`.
#[derive(Clone, Debug)]
pub enum Site {
    /// Nothing: the operator wants the API only.
    Off,
    /// Nothing: neither a directory nor the program has the pages.
    Missing,
    /// The server's own pages.
    Pages(SiteFiles),
    /// A web client that the operator brought.
    WebClient(SiteFiles),
}

impl Site {
    /// Opens the directory that the configuration names. The error is one line and names the variable.
    pub fn open(config: &Config) -> Result<Self> {
        if let Some(directory) = &config.web_client {
            let files = SiteFiles::open("PINHOLE_WEB_CLIENT", directory, &config.data)?;
            return Ok(Self::WebClient(files));
        }
        if config.pages == PageChoice::Off {
            return Ok(Self::Off);
        }
        match &config.page_directory {
            Some(directory) => {
                let files = SiteFiles::open("PINHOLE_UI_DIR", directory, &config.data)?;
                Ok(Self::Pages(files))
            }
            None => Ok(SiteFiles::embedded().map_or(Self::Missing, Self::Pages)),
        }
    }

    /// Are the server's own pages served?
    #[must_use]
    pub fn has_pages(&self) -> bool {
        matches!(self, Self::Pages(_))
    }
}
